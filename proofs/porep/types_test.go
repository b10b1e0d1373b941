package porep

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
)

const ni2KiB = abi.RegisteredSealProof_StackedDrg2KiBV1_2_Feat_NiPoRep

// Every registered seal proof has the constants of the reference
// (filecoin-proofs/src/constants.rs), and its own porep id.
func TestEverySealProof(t *testing.T) {
	sizes := []uint64{2 << 10, 8 << 20, 512 << 20, 32 << 30, 64 << 30}
	bases := []int{1, 1, 1, 8, 16}
	ids := map[[32]byte]bool{}
	for p := range abi.RegisteredSealProof(endProofs) {
		par, err := paramsFor(p)
		if err != nil {
			t.Fatal(err)
		}
		family, size := int(p)/5, int(p)%5
		layers, partitions, per := 2, 1, 2
		if size >= 3 {
			layers, partitions, per = 11, 10, 18
		}
		if family == 3 {
			partitions = 13
			if size >= 3 {
				partitions = 126
			}
		}
		if uint64(par.size()) != sizes[size] || par.shape.Bases() != bases[size] || par.layers != layers ||
			par.partitions != partitions || par.perPartition != per || par.legacy != (family == 0) ||
			par.feature != []feature{interactive, interactive, synthetic, nonInteractive}[family] {
			t.Errorf("seal proof %d: %+v", p, par)
		}
		if Synthetic(p) != (family == 2) || binary.LittleEndian.Uint64(par.porepID[:]) != uint64(p) {
			t.Errorf("seal proof %d: synthetic %v, porep id %x", p, Synthetic(p), par.porepID)
		}
		// The number of challenges must reach the security level of its family.
		if least := map[bool]int{false: 176, true: 2253}[family == 3]; size >= 3 && partitions*per < least {
			t.Errorf("seal proof %d: %d challenges, at least %d are needed", p, partitions*per, least)
		}
		ids[par.porepID] = true
	}
	if len(ids) != endProofs {
		t.Errorf("%d different porep ids", len(ids))
	}
	for _, p := range []abi.RegisteredSealProof{-1, endProofs, 99} {
		if _, err := paramsFor(p); err == nil {
			t.Errorf("seal proof %d accepted", p)
		}
	}
}

// All tree shapes, in all ways of drawing challenges, prove and verify.
func TestEveryShape(t *testing.T) {
	ctx := context.Background()
	sizes := map[uint64]int{1 << 6: 28_248, 1 << 7: 30_136, 1 << 9: 36_472, 1 << 10: 38_360}
	for nodes, size := range sizes {
		for _, f := range []feature{interactive, synthetic, nonInteractive} {
			s := sealedOf(t, nodes, f)
			blob, err := s.par.prove(ctx, s.s, &s.req, s.sealed, s.cache)
			if err != nil {
				t.Fatal(err)
			}
			want := size
			if f == nonInteractive {
				want = 8 + 5*32 + 13*(size-8-5*32)
			}
			if len(blob) != want || s.par.blobSize() != want {
				t.Errorf("%d nodes: %d bytes, want %d", nodes, len(blob), want)
			}
			v, err := s.par.unmarshal(blob)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.par.check(ctx, v, s.par.publicOf(s.s, &s.req)); err != nil {
				t.Errorf("%d nodes: %v", nodes, err)
			}
		}
	}
}

// Non-interactive challenges do not depend on the seed, which is carried along;
// all thirteen partitions are checked, each against its own challenges.
func TestNonInteractive(t *testing.T) {
	ctx := context.Background()
	s, _, blob := proved(t, ni2KiB)
	s.req.Seed = NonInteractiveSeed()
	other, err := Prove(ctx, s.s, s.req, s.sealed, s.cache)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := Verify(ctx, s.info(), other); !ok || err != nil {
		t.Errorf("the actor's seed: %v, %v", ok, err)
	}
	if ok, err := Verify(ctx, s.info(), blob); ok || err != nil {
		t.Errorf("another seed than is carried: %v, %v", ok, err)
	}
	seed := len(blob) - 64
	if !bytes.Equal(blob[:seed], other[:seed]) || !bytes.Equal(blob[seed+32:], other[seed+32:]) {
		t.Error("the proof depends on the seed")
	}
	part := (len(blob) - 8 - 5*32) / 13
	for k := range 13 {
		bad := bytes.Clone(other)
		a, b := bad[8+k*part:8+(k+1)*part], bad[8+(k+1)%13*part:]
		copy(b, bytes.Clone(a))
		if ok, err := Verify(ctx, s.info(), bad); ok || err != nil {
			t.Errorf("partition %d in place of the next: %v, %v", k, ok, err)
		}
	}
	seen := []uint64{}
	for k := range s.par.partitions {
		seen = append(seen, s.par.challenges(s.pc1.ReplicaID, s.req.CommR, [32]byte{}, k)...)
	}
	slices.Sort(seen)
	if n := len(slices.Compact(slices.Clone(seen))); len(seen) != 26 || n < 15 {
		t.Errorf("%d challenges, %d of them different", len(seen), n)
	}
	js, err := ProofJSON(ni2KiB, blob)
	if err != nil || !strings.HasPrefix(string(js),
		`{"registered_proof":"StackedDrg2KiBV1_2_Feat_NonInteractivePoRep","vanilla_proofs":{"StackedDrg2KiBV1":[[{`) {
		t.Errorf("JSON begins with %.100s (%v)", js, err)
	}
	s.req.Seed = make([]byte, 32)
	if _, err := Prove(ctx, s.s, s.req, s.sealed, s.cache); err == nil {
		t.Error("a zero seed was accepted")
	}
}
