//go:build !linux

package worker

// SystemMemory cannot be told on this system: 0.
func SystemMemory() uint64 { return 0 }
