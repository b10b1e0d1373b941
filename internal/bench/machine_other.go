//go:build !linux

package bench

import (
	"runtime"
	"time"
)

func cpuModel() string { return "" }

func hasSHANI() bool { return false }

func totalMemory() uint64 { return 0 }

func loadAverage() float64 { return 0 }

func cpuTime() time.Duration { return 0 }

func systemName() string { return runtime.GOOS }

// FreeDisk is how many bytes an ordinary user may still write to the file system
// of dir; ok is false when the system does not tell.
func FreeDisk(string) (n uint64, ok bool) { return 0, false }
