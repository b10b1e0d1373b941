//go:build !linux

package bench

import "quarry/proofs/porep"

// dropPages is not to be had here.
func dropPages(porep.File) error { return errKept }
