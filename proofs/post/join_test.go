package post

import (
	"bytes"
	"errors"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/merkle"
)

// Proofs of single sectors, joined in any order, are the proof over all.
func TestJoinedProofsAreTheProofOverAll(t *testing.T) {
	var access []SectorAccess
	var single [][]byte
	for _, n := range []abi.SectorNumber{3, 300, 70000} {
		_, a := sealed(t, n)
		access = append(access, a)
		blob, faults, err := FindFaults(t.Context(), miner, draw, []SectorAccess{a})
		if err != nil || len(faults) != 0 {
			t.Fatal(err, faults)
		}
		single = append(single, blob)
	}
	want, _, err := ProveWindow(t.Context(), miner, draw, access)
	if err != nil {
		t.Fatal(err)
	}
	two, err := JoinWindow(seal2KiB, single[2], single[0])
	if err != nil {
		t.Fatal(err)
	}
	got, err := JoinWindow(seal2KiB, nil, two, single[1], []byte{})
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("joined proof differs from the one over all (%v)", err)
	}
	if size, err := WindowProofSize(seal2KiB); err != nil || 8+3*size != len(want) {
		t.Errorf("3 sectors of %d bytes are %d (%v)", size, len(want), err)
	}
	if _, err := WindowProofSize(-1); err == nil {
		t.Error("a seal proof that does not exist has a size")
	}
	if none, err := JoinWindow(seal2KiB, nil, nil); none != nil || err != nil {
		t.Errorf("of nothing: %x, %v", none, err)
	}
	if _, err := JoinWindow(seal2KiB, two, single[0]); !errors.Is(err, ErrTwice) {
		t.Errorf("a sector in two: %v", err)
	}
	if _, err := JoinWindow(-1, two); err == nil {
		t.Error("a seal proof that does not exist was taken")
	}
	odd := bytes.Clone(two)
	odd[0]++
	for _, bad := range [][]byte{two[:7], two[:len(two)-1], append(bytes.Clone(two), 0), odd, {1}} {
		if _, err := JoinWindow(seal2KiB, bad); !errors.Is(err, merkle.ErrFormat) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
}

// Whatever comes, it is refused or joined to as many whole parts as it holds.
func FuzzJoinWindow(f *testing.F) {
	size, err := WindowProofSize(seal2KiB)
	if err != nil {
		f.Fatal(err)
	}
	one := append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 9}, make([]byte, size-1)...)
	f.Add(one, []byte{})
	f.Add(one, one)
	f.Add(one[:20], []byte{0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		out, err := JoinWindow(seal2KiB, a, b)
		if err != nil || out == nil {
			return
		}
		if n := (len(out) - 8) / size; 8+n*size != len(out) || int(out[0])|int(out[1])<<8 != n%(1<<16) {
			t.Errorf("%d bytes of %d and %d", len(out), len(a), len(b))
		}
	})
}
