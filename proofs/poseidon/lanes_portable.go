//go:build !amd64 || purego

package poseidon

import "github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

// wideLanes is false where no instructions for lanes are known.
var wideLanes bool

type laneTables struct{}

func newLaneTables(*program[fr.Element]) *laneTables { return nil }

// hashLanes hashes nothing: without vector instructions one hash at a time is
// fastest.
func (h *Hasher) hashLanes(_, _ []Element) int { return 0 }
