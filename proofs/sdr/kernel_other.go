//go:build (!amd64 && !arm64) || purego

package sdr

// nativeKernels is empty: only the portable kernel is built for this CPU.
func nativeKernels() []routine { return nil }
