package post

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin"

	"quarry/proofs/merkle"
	"quarry/proofs/porep"
	"quarry/proofs/porep/poreptest"
)

// Partition sizes are those of the chain.
func TestPartitions(t *testing.T) {
	for p := abi.RegisteredPoStProof(endWinning); p < endWindow11; p++ {
		got, err := PartitionSectors(p)
		want, err2 := builtin.PoStProofWindowPoStPartitionSectors(p)
		if err != nil || err2 != nil || got != want {
			t.Errorf("PoSt proof %d: %d sectors, want %d (%v, %v)", p, got, want, err, err2)
		}
	}
	for _, p := range []abi.RegisteredPoStProof{-1, 0, 4, 15} {
		if _, err := PartitionSectors(p); err == nil {
			t.Errorf("PoSt proof %d has partitions", p)
		}
	}
	const window32 = abi.RegisteredPoStProof_StackedDrgWindow32GiBV1_1
	for sectors, want := range map[uint64]uint64{1: 1, 2349: 1, 2350: 2, 4698: 2, 4699: 3, 1<<64 - 1: (1<<64-1)/2349 + 1} {
		if got, err := Partitions(window32, sectors); err != nil || got != want {
			t.Errorf("%d sectors: %d partitions, want %d (%v)", sectors, got, want, err)
		}
	}
	if _, err := Partitions(window32, 0); !errors.Is(err, ErrNoSectors) {
		t.Errorf("no sectors: %v", err)
	}
	if got, err := WindowMemory(abi.RegisteredSealProof_StackedDrg32GiBV1_1, 2349); err != nil || got < 58<<20 || got > 160<<20 {
		t.Errorf("memory for a partition: %d (%v)", got, err)
	}
	if _, err := WindowMemory(99, 1); err == nil {
		t.Error("seal proof 99 accepted")
	}
}

// A proof over three sectors splits into a full and a short partition, each of
// which verifies against its own sectors only.
func TestSplitWindow(t *testing.T) {
	ctx := context.Background()
	_, a := sealed(t, 1)
	_, b := sealed(t, 2)
	_, c := sealed(t, 3)
	blob, _, err := ProveWindow(ctx, miner, draw, []SectorAccess{c, b, a})
	if err != nil {
		t.Fatal(err)
	}
	parts, err := SplitWindow(window2KiB, 3, blob)
	if err != nil || len(parts) != 2 {
		t.Fatal(len(parts), err)
	}
	verdict(t, "first partition", true)(VerifyWindow(ctx, windowInfo(draw, a, b), parts[0]))
	verdict(t, "second partition", true)(VerifyWindow(ctx, windowInfo(draw, c), parts[1]))
	verdict(t, "second as first", false)(VerifyWindow(ctx, windowInfo(draw, a, b), parts[1]))
	alone, _, err := ProveWindow(ctx, miner, draw, []SectorAccess{c})
	if err != nil || !bytes.Equal(alone, parts[1]) {
		t.Errorf("a partition proved alone differs: %v", err)
	}
	for _, x := range []struct {
		p    abi.RegisteredPoStProof
		n    uint64
		blob []byte
	}{{window2KiB, 2, blob}, {window2KiB, 1 << 63, blob}, {window2KiB, 0, blob}, {winning2KiB, 3, blob},
		{window2KiB, 3, blob[1:]}, {abi.RegisteredPoStProof_StackedDrgWindow8MiBV1_1, 3, blob}, {99, 3, blob}} {
		if _, err := SplitWindow(x.p, x.n, x.blob); err == nil {
			t.Errorf("type %d, %d sectors, %d bytes: accepted", x.p, x.n, len(x.blob))
		}
	}
	if _, err := SplitWindow(window2KiB, 2, blob); !errors.Is(err, merkle.ErrFormat) {
		t.Errorf("another number of sectors: %v", err)
	}
}

// The blobs of single sectors are the reference's.
func TestSectorProofs(t *testing.T) {
	ctx := context.Background()
	var v struct {
		Window  []byte `json:"post_window_v1_2_FallbackPoStSectorProof_base64"`
		Winning []byte `json:"post_winning_FallbackPoStSectorProof_base64"`
	}
	loadJSON(t, "../porep/testdata/vanilla-2kib.json", &v)
	own, err := poreptest.SealData(ctx, porep.Sector{Proof: seal2KiB, Miner: miner, Number: 42}, poreptest.VectorData(2048))
	if err != nil {
		t.Fatal(err)
	}
	_, other := sealed(t, 1)
	access := SectorAccess{Info: own.Info(), Sealed: own.Sealed, Cache: own.Cache}
	blob, _, err := ProveWindow(ctx, miner, draw, []SectorAccess{access, other})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := SectorProofs(window2KiB, 2, blob); err != nil || len(got) != 2 || !bytes.Equal(got[1], v.Window) {
		t.Errorf("window: %d blobs, not the reference's: %v", len(got), err)
	}
	if blob, err = ProveWinning(ctx, miner, draw, []SectorAccess{access}); err != nil {
		t.Fatal(err)
	}
	if got, err := SectorProofs(winning2KiB, 1, blob); err != nil || len(got) != 1 || !bytes.Equal(got[0], v.Winning) {
		t.Errorf("winning: %d blobs, not the reference's: %v", len(got), err)
	}
	for _, n := range []uint64{0, 2, 1 << 63} {
		if _, err := SectorProofs(winning2KiB, n, blob); !errors.Is(err, merkle.ErrFormat) {
			t.Errorf("%d sectors: %v", n, err)
		}
	}
	if _, err := SectorProofs(99, 1, blob); err == nil {
		t.Error("PoSt proof 99 accepted")
	}
}

// Lists that cannot be proved are refused with the reason.
func TestListErrors(t *testing.T) {
	ctx := context.Background()
	_, a := sealed(t, 1)
	_, b := sealed(t, 2)
	twin := b
	twin.Info.SectorNumber = 1
	big := b
	big.Info.SealProof = abi.RegisteredSealProof_StackedDrg8MiBV1_1
	for name, x := range map[string]struct {
		sectors []SectorAccess
		want    error
	}{
		"none": {nil, ErrNoSectors}, "twice, differently": {[]SectorAccess{a, twin, b}, ErrTwice},
		"two sizes": {[]SectorAccess{a, big}, ErrSizes},
	} {
		if blob, skipped, err := ProveWindow(ctx, miner, draw, x.sectors); !errors.Is(err, x.want) || blob != nil || skipped != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ProveWinning(ctx, miner, draw, nil); !errors.Is(err, ErrNoSectors) {
		t.Errorf("a winning proof of nothing: %v", err)
	}
	if _, err := WinningSector(winning2KiB, miner, draw, 0); !errors.Is(err, ErrNoSectors) {
		t.Errorf("a pick among nothing: %v", err)
	}
}

func FuzzSplitWindow(f *testing.F) {
	_, a := sealed(f, 1)
	blob, _, err := ProveWindow(context.Background(), miner, draw, []SectorAccess{a})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint64(1), blob)
	f.Add(uint64(1<<63), []byte{})
	f.Fuzz(func(t *testing.T, n uint64, b []byte) {
		parts, err := SplitWindow(window2KiB, n, b)
		if want, _ := Partitions(window2KiB, n); err == nil && uint64(len(parts)) != want {
			t.Errorf("%d parts of %d sectors", len(parts), n)
		}
	})
}

// Sectors of all four families of seal proofs are proved alike, also together.
func TestEveryFamily(t *testing.T) {
	ctx := context.Background()
	var all []SectorAccess
	for i, p := range []abi.RegisteredSealProof{
		abi.RegisteredSealProof_StackedDrg2KiBV1, seal2KiB, abi.RegisteredSealProof_StackedDrg2KiBV1_1_Feat_SyntheticPoRep,
		abi.RegisteredSealProof_StackedDrg2KiBV1_2_Feat_NiPoRep,
	} {
		s, err := poreptest.Seal(ctx, porep.Sector{Proof: p, Miner: miner, Number: abi.SectorNumber(i)})
		if err != nil {
			t.Fatal(err)
		}
		access := SectorAccess{Info: s.Info(), Sealed: s.Sealed, Cache: s.Cache}
		if err := porep.ClearCache(s.Cache, p); err != nil {
			t.Fatal(err)
		}
		blob, err := ProveWinning(ctx, miner, draw, []SectorAccess{access})
		if err != nil {
			t.Fatal(err)
		}
		verdict(t, "winning proof", true)(VerifyWinning(ctx, winningInfo(access, draw), blob))
		all = append(all, access)
	}
	blob, skipped, err := ProveWindow(ctx, miner, draw, all)
	if err != nil || len(skipped) > 0 {
		t.Fatal(skipped, err)
	}
	verdict(t, "window proof over all", true)(VerifyWindow(ctx, windowInfo(draw, all...), blob))
}
