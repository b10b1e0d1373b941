package sdr

import "testing"

// Layers larger than a system gives are an error, not the end of the process.
func TestNoRoom(t *testing.T) {
	for _, size := range []uint64{1<<46 + 1, 1 << 63} {
		if _, _, err := newRoom(size); err == nil {
			t.Errorf("room for %d bytes", size)
		}
	}
}
