package post

import (
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
)

// Why a sector cannot be proved. Every error about one sector is one of these
// (errors.Is); its text says which file, and what to do.
var (
	// ErrMissing: the replica, p_aux or tree-r-last is not at hand.
	ErrMissing = errors.New("a file is missing")
	// ErrOtherSeal: the files are sound but of another seal than the SealedCID,
	// for example the sector's from before it was updated.
	ErrOtherSeal = errors.New("its files belong to another seal than its SealedCID")
	// ErrDamaged: the replica and its tree do not fit together, or cannot be read.
	ErrDamaged = errors.New("its replica or cache is damaged")
	// ErrSealedCID: the public SealedCID is no replica commitment.
	ErrSealedCID = errors.New("its SealedCID is no replica commitment")
)

// Why a list of sectors cannot be proved.
var (
	// ErrNoSectors: the list is empty.
	ErrNoSectors = errors.New("no sectors are given")
	// ErrTwice: one sector number is listed with two commitments.
	ErrTwice = errors.New("a sector is listed twice, differently")
	// ErrSizes: the sectors are not of one size.
	ErrSizes = errors.New("sectors differ in size; prove them apart")
)

// Fault is a sector that is not in a window proof, and why.
type Fault struct {
	Sector abi.SectorNumber
	Err    error
}

// Error says which sector it is and what is wrong with it.
func (f Fault) Error() string { return f.Err.Error() }

// Unwrap gives the cause.
func (f Fault) Unwrap() error { return f.Err }

// sectorError wraps what is wrong with a sector.
func sectorError(n abi.SectorNumber, cause error, format string, args ...any) error {
	detail := fmt.Errorf(format, args...)
	if errors.Is(detail, cause) {
		return fmt.Errorf("sector %d: %w", n, detail)
	}
	return fmt.Errorf("sector %d: %w: %w", n, cause, detail)
}
