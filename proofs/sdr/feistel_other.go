//go:build !amd64 || purego

package sdr

// permuters is empty: only the portable code is built for this CPU.
var permuters []permuter
