//go:build !linux

package bench

// systemPeak: no mark that can be reset.
func systemPeak() peakMeter { return nil }
