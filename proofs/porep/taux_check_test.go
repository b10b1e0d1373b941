package porep_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/porep"
	"quarry/proofs/porep/poreptest"
)

func TestCheckTAux(t *testing.T) {
	const proof = abi.RegisteredSealProof_StackedDrg2KiBV1_1
	s, err := poreptest.Seal(t.Context(), porep.Sector{Proof: proof, Miner: 1000, Number: 7})
	if err != nil {
		t.Fatal(err)
	}
	if err := porep.CheckTAux(proof, s.Cache); err != nil {
		t.Errorf("of a sealed sector: %v", err)
	}
	if err := porep.CheckTAux(abi.RegisteredSealProof_StackedDrg8MiBV1_1, s.Cache); err == nil {
		t.Error("taken for that of a larger sector")
	}
	if err := porep.CheckTAux(-1, s.Cache); err == nil {
		t.Error("a seal proof that does not exist was taken")
	}
	s.Cache.File("t_aux").Bytes[0]++
	if err := porep.CheckTAux(proof, s.Cache); err == nil {
		t.Error("a damaged one was taken")
	}
	if err := s.Cache.Remove("t_aux"); err != nil {
		t.Fatal(err)
	}
	if err := porep.CheckTAux(proof, s.Cache); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of none: %v", err)
	}
}
