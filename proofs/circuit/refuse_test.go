package circuit

import (
	"bytes"
	"context"
	"errors"
	"testing"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"

	"quarry/proofs/r1cs"
)

// Public information that is no statement is an error, of inputs and of
// circuits alike.
func TestNoStatement(t *testing.T) {
	s := sealed(t, seal2KiB, 42)
	seal, other := s.VerifyInfo(), sealed(t, seal2KiB, 43)
	winning := proof.WinningPoStVerifyInfo{Randomness: draw, Prover: miner, ChallengedSectors: []proof.SectorInfo{s.Info()}}
	window := proof.WindowPoStVerifyInfo{Randomness: draw, Prover: miner, ChallengedSectors: []proof.SectorInfo{s.Info()}}
	upd := proof.ReplicaUpdateInfo{OldSealedSectorCID: seal.SealedCID, NewSealedSectorCID: seal.SealedCID,
		NewUnsealedSectorCID: seal.UnsealedCID}
	tooLarge := must[cid.Cid](t)(commcid.ReplicaCommitmentV1ToCID(bytes.Repeat([]byte{0xff}, 32)))

	for what, change := range map[string]func(*proof.SealVerifyInfo){
		"unknown proof":   func(i *proof.SealVerifyInfo) { i.SealProof = 20 },
		"no CommR":        func(i *proof.SealVerifyInfo) { i.SealedCID = i.UnsealedCID },
		"no CommD":        func(i *proof.SealVerifyInfo) { i.UnsealedCID = cid.Undef },
		"short ticket":    func(i *proof.SealVerifyInfo) { i.Randomness = i.Randomness[1:] },
		"no seed":         func(i *proof.SealVerifyInfo) { i.InteractiveRandomness = nil },
		"CommR too large": func(i *proof.SealVerifyInfo) { i.SealedCID = tooLarge },
	} {
		i := seal
		change(&i)
		if _, err := PoRepInputs(i); err == nil {
			t.Errorf("PoRep, %s: inputs", what)
		}
	}
	for what, change := range map[string]func(*proof.WindowPoStVerifyInfo){
		"no sectors":         func(i *proof.WindowPoStVerifyInfo) { i.ChallengedSectors = nil },
		"no randomness":      func(i *proof.WindowPoStVerifyInfo) { i.Randomness = nil },
		"winning type":       func(i *proof.WindowPoStVerifyInfo) { i.Proofs = []proof.PoStProof{{PoStProof: 0}} },
		"type of other size": func(i *proof.WindowPoStVerifyInfo) { i.Proofs = []proof.PoStProof{{PoStProof: window8MiB}} },
		"unknown type":       func(i *proof.WindowPoStVerifyInfo) { i.Proofs = []proof.PoStProof{{PoStProof: 99}} },
		"one number, two sectors": func(i *proof.WindowPoStVerifyInfo) {
			second := other.Info()
			second.SectorNumber = 42
			i.ChallengedSectors = append([]proof.SectorInfo{second}, i.ChallengedSectors...)
		},
		"sectors of two sizes": func(i *proof.WindowPoStVerifyInfo) {
			second := other.Info()
			second.SealProof = seal8MiB
			i.ChallengedSectors = append([]proof.SectorInfo{second}, i.ChallengedSectors...)
		},
		"no CommR": func(i *proof.WindowPoStVerifyInfo) {
			i.ChallengedSectors = []proof.SectorInfo{{SealProof: seal2KiB, SealedCID: seal.UnsealedCID}}
		},
		"CommR too large": func(i *proof.WindowPoStVerifyInfo) {
			i.ChallengedSectors = []proof.SectorInfo{{SealProof: seal2KiB, SealedCID: tooLarge}}
		},
	} {
		i := window
		change(&i)
		if _, err := WindowInputs(i); err == nil {
			t.Errorf("window, %s: inputs", what)
		}
		if _, err := Window(i, nil); err == nil {
			t.Errorf("window, %s: circuits", what)
		}
	}
	two := winning
	two.ChallengedSectors = append(two.ChallengedSectors, other.Info())
	if _, err := WinningInputs(two); err == nil {
		t.Error("winning with two sectors: inputs")
	}
	for what, change := range map[string]func(*proof.ReplicaUpdateInfo){
		"unknown proof":       func(i *proof.ReplicaUpdateInfo) { i.UpdateProofType = 5 },
		"no old CommR":        func(i *proof.ReplicaUpdateInfo) { i.OldSealedSectorCID = cid.Undef },
		"no new CommR":        func(i *proof.ReplicaUpdateInfo) { i.NewSealedSectorCID = i.NewUnsealedSectorCID },
		"no new CommD":        func(i *proof.ReplicaUpdateInfo) { i.NewUnsealedSectorCID = i.OldSealedSectorCID },
		"new CommR too large": func(i *proof.ReplicaUpdateInfo) { i.NewSealedSectorCID = tooLarge },
	} {
		i := upd
		change(&i)
		if _, err := UpdateInputs(i); err == nil {
			t.Errorf("update, %s: inputs", what)
		}
	}
}

// Blobs of another length are an error at once.
func TestWrongLength(t *testing.T) {
	for _, s := range statements(t) {
		for _, blob := range [][]byte{nil, s.blob[1:], s.blob[:len(s.blob)-1], append(s.blob[:len(s.blob):len(s.blob)], 0)} {
			if _, err := s.circuits(blob); err == nil {
				t.Errorf("%s: %d bytes taken for a proof of %d", s.kind, len(blob), len(s.blob))
			}
		}
	}
}

// A sector listed several times, as the miner actor does in place of faulty
// ones, is proven once; the order of the list does not matter.
func TestWindowSectorsAreASet(t *testing.T) {
	a, b := sealed(t, seal2KiB, 42).Info(), sealed(t, seal2KiB, 43).Info()
	var want []r1cs.Element
	for i, list := range [][]proof.SectorInfo{{a, b}, {b, a}, {b, a, a, b, b}} {
		in := must[[][]r1cs.Element](t)(WindowInputs(proof.WindowPoStVerifyInfo{Randomness: draw, Prover: miner, ChallengedSectors: list}))
		if i == 0 {
			want = in[0]
		}
		if len(in) != 1 || len(in[0]) != len(want) || in[0][0] != want[0] || in[0][11] != want[11] {
			t.Errorf("list %d gives other public inputs", i)
		}
	}
}

// A walk ends with its context.
func TestWalkStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for name, make := range blanks {
		c := must[r1cs.Circuit](t)(make(0))
		if err := c.Synthesize(ctx, new(counter)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := BlankWindow(abi.RegisteredPoStProof(14)); err != nil {
		t.Error(err)
	}
}
