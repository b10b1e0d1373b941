//go:build !linux

package main

// systemMemory cannot be told here: give --memory.
func systemMemory() uint64 { return 0 }
