package main

import "golang.org/x/sys/unix"

// systemMemory is the machine's memory in bytes, 0 when it cannot be told.
func systemMemory() uint64 {
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) != nil {
		return 0
	}
	return s.Totalram * uint64(s.Unit)
}
