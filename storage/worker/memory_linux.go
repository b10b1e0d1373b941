package worker

import "golang.org/x/sys/unix"

// SystemMemory is the machine's memory in bytes, 0 when it cannot be told: what a
// worker offers to tasks unless it is told otherwise.
func SystemMemory() uint64 {
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) != nil {
		return 0
	}
	return s.Totalram * uint64(s.Unit)
}
