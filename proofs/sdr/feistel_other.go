//go:build !amd64

package sdr

// vectors is whether expansion parents are computed eight at a time.
var vectors = false

func permuteOnce([]uint64, uint, *[4]uint64) { panic("sdr: no vector code for this CPU") }
