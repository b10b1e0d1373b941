package post

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"

	"quarry/proofs/merkle"
	"quarry/proofs/porep"
	"quarry/proofs/porep/poreptest"
)

const (
	seal2KiB    = abi.RegisteredSealProof_StackedDrg2KiBV1_1
	miner       = abi.ActorID(1000)
	window2KiB  = abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1
	winning2KiB = abi.RegisteredPoStProof_StackedDrgWinning2KiBV1
)

var draw = abi.PoStRandomness(bytes.Repeat([]byte{0x33}, 32))

func sealed(t testing.TB, n abi.SectorNumber) (*poreptest.Sealed, SectorAccess) {
	t.Helper()
	s, err := poreptest.Seal(context.Background(), porep.Sector{Proof: seal2KiB, Miner: miner, Number: n})
	if err != nil {
		t.Fatal(err)
	}
	return s, SectorAccess{Info: s.Info(), Sealed: s.Sealed, Cache: s.Cache}
}

func loadJSON(t testing.TB, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}

type postVector struct {
	Challenges []uint64 `json:"challenges"`
	Randomness string   `json:"randomness"`
	SHA256     string   `json:"vanilla_bincode_sha256"`
	Size       int      `json:"vanilla_bincode_size"`
}

// Challenges of every vector sector, whatever its size.
func TestChallengeVectors(t *testing.T) {
	var v struct {
		Sectors []struct {
			Name    string           `json:"name"`
			Number  abi.SectorNumber `json:"sector_number"`
			Size    uint64           `json:"sector_size"`
			V1      postVector       `json:"post_window_v1_0"`
			V11     postVector       `json:"post_window_v1_2"`
			Winning postVector       `json:"post_winning"`
			Picked  []uint64         `json:"winning_sector_challenge_of_100"`
		} `json:"sectors"`
	}
	loadJSON(t, "../porep/testdata/sectors.json", &v)
	if len(v.Sectors) == 0 {
		t.Fatal("no vectors")
	}
	for _, s := range v.Sectors {
		shape, err := merkle.ShapeOf(s.Size / 32)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []struct {
			k kind
			w postVector
		}{{windowV1, s.V1}, {windowV11, s.V11}, {winning, s.Winning}} {
			r, err := hex.DecodeString(x.w.Randomness)
			if err != nil {
				t.Fatal(err)
			}
			if got := x.k.leaves([32]byte(r), s.Number, 0, s.Size/32); !slices.Equal(got, x.w.Challenges) {
				t.Errorf("%s: challenges %v want %v", s.Name, got, x.w.Challenges)
			}
			if got := proofSize(x.k, shape.PoseidonForm()); got != x.w.Size {
				t.Errorf("%s: proofs of %d bytes, want %d", s.Name, got, x.w.Size)
			}
		}
		if got, err := WinningSector(winning2KiB, miner, draw, 100); err != nil || !slices.Equal(got, s.Picked) {
			t.Errorf("%s: picked %v (%v) want %v", s.Name, got, err, s.Picked)
		}
	}
}

// The proof of a sealed 2 KiB sector equals the reference's byte for byte.
func TestReferenceBytes(t *testing.T) {
	var v struct {
		Window  []byte `json:"post_window_v1_2_FallbackPoStSectorProof_base64"`
		Winning []byte `json:"post_winning_FallbackPoStSectorProof_base64"`
	}
	loadJSON(t, "../porep/testdata/vanilla-2kib.json", &v)
	shape, err := merkle.ShapeOf(64)
	if err != nil {
		t.Fatal(err)
	}
	sector := porep.Sector{Proof: seal2KiB, Miner: miner, Number: 42}
	own, err := poreptest.SealData(context.Background(), sector, poreptest.VectorData(2048))
	if err != nil {
		t.Fatal(err)
	}
	access := SectorAccess{Info: own.Info(), Sealed: own.Sealed, Cache: own.Cache}
	for _, x := range []struct {
		k    kind
		want []byte
	}{{windowV11, v.Window}, {winning, v.Winning}} {
		made, err := openSector(context.Background(), x.k, [32]byte(draw), 0, access)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(made.append(nil, shape.PoseidonForm()), x.want) {
			t.Error("our proof differs from the reference's")
		}
		d := merkle.NewDecoder(x.want)
		p := readSectorProof(d, x.k, shape.PoseidonForm())
		if err := d.End(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p.append(nil, shape.PoseidonForm()), x.want) {
			t.Error("the reference's proof does not survive reading and writing")
		}
		if !p.check(p.CommR, x.k.leaves([32]byte(draw), 42, 0, 64), shape.PoseidonForm()) {
			t.Error("the reference's proof does not verify")
		}
	}
}

// A real 32 GiB window proof: two tree levels and another sector size.
func TestMainnetWindowProof(t *testing.T) {
	var v struct {
		Sector     abi.SectorNumber `json:"sector_number"`
		CommR      string           `json:"comm_r"`
		Bases      []string         `json:"tree_r_last_base_roots"`
		CommRLast  string           `json:"comm_r_last"`
		Challenges []uint64         `json:"window_challenges"`
		Proof      string           `json:"FallbackPoStSectorProof_bincode_base64"`
	}
	loadJSON(t, "testdata/post-32gib.json", &v)
	raw, err := base64.StdEncoding.DecodeString(v.Proof)
	if err != nil {
		t.Fatal(err)
	}
	shape, err := merkle.ShapeOf(1 << 30)
	if err != nil {
		t.Fatal(err)
	}
	if got := windowV11.leaves([32]byte{}, v.Sector, 0, shape.Nodes); !slices.Equal(got, v.Challenges) {
		t.Errorf("challenges %v want %v", got, v.Challenges)
	}
	f, d := shape.PoseidonForm(), merkle.NewDecoder(raw)
	p := readSectorProof(d, windowV11, f)
	if err := d.End(); err != nil {
		t.Fatal(err)
	}
	if hex.EncodeToString(p.CommR[:]) != v.CommR || !p.check(p.CommR, v.Challenges, f) {
		t.Error("the proof does not verify")
	}
	if !bytes.Equal(p.append(nil, f), raw) {
		t.Error("the proof does not survive reading and writing")
	}
	var bases []merkle.Node
	for _, b := range v.Bases {
		n, err := hex.DecodeString(b)
		if err != nil {
			t.Fatal(err)
		}
		bases = append(bases, merkle.Node(n))
	}
	root, err := shape.Join(bases)
	if err != nil || hex.EncodeToString(root[:]) != v.CommRLast {
		t.Errorf("base roots join to %x (%v), want %s", root, err, v.CommRLast)
	}
}

func winningInfo(s SectorAccess, rand abi.PoStRandomness) proof.WinningPoStVerifyInfo {
	return proof.WinningPoStVerifyInfo{Randomness: rand, Prover: miner,
		Proofs:            []proof.PoStProof{{PoStProof: winning2KiB}},
		ChallengedSectors: []proof.SectorInfo{s.Info}}
}

func windowInfo(rand abi.PoStRandomness, sectors ...SectorAccess) proof.WindowPoStVerifyInfo {
	w := proof.WindowPoStVerifyInfo{Randomness: rand, Prover: miner, Proofs: []proof.PoStProof{{PoStProof: window2KiB}}}
	for _, s := range sectors {
		w.ChallengedSectors = append(w.ChallengedSectors, s.Info)
	}
	return w
}

func verdict(t *testing.T, what string, want bool) func(bool, error) {
	t.Helper()
	return func(got bool, err error) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("%s: got %v, %v; want %v", what, got, err, want)
		}
	}
}

func TestWinning(t *testing.T) {
	ctx := context.Background()
	_, a := sealed(t, 1)
	_, b := sealed(t, 2)
	high := abi.PoStRandomness(bytes.Repeat([]byte{0xff}, 32))
	for _, r := range []abi.PoStRandomness{draw, high} {
		blob, err := ProveWinning(ctx, miner, r, []SectorAccess{a})
		if err != nil {
			t.Fatal(err)
		}
		verdict(t, "right", true)(VerifyWinning(ctx, winningInfo(a, r), blob))
		verdict(t, "other sector", false)(VerifyWinning(ctx, winningInfo(b, r), blob))
		verdict(t, "other randomness", false)(VerifyWinning(ctx, winningInfo(a, make([]byte, 32)), blob))
		verdict(t, "short randomness", false)(VerifyWinning(ctx, winningInfo(a, r[:31]), blob))
		wrongType := winningInfo(a, r)
		wrongType.Proofs[0].PoStProof = window2KiB
		verdict(t, "window type", false)(VerifyWinning(ctx, wrongType, blob))
	}
	if _, err := ProveWinning(ctx, miner, draw, []SectorAccess{a, b}); err == nil {
		t.Error("two sectors were proved")
	}
	if err := SelfCheck(ctx, miner, a); err != nil {
		t.Error(err)
	}
}

func TestWindow(t *testing.T) {
	ctx := context.Background()
	_, a := sealed(t, 1)
	_, b := sealed(t, 2)
	_, c := sealed(t, 3)
	blob, skipped, err := ProveWindow(ctx, miner, draw, []SectorAccess{c, a, b, a})
	if err != nil || len(skipped) != 0 {
		t.Fatal(skipped, err)
	}
	verdict(t, "any order, with repetition", true)(VerifyWindow(ctx, windowInfo(draw, b, c, a, b), blob))
	verdict(t, "a sector missing", false)(VerifyWindow(ctx, windowInfo(draw, a, b), blob))
	verdict(t, "other randomness", false)(VerifyWindow(ctx, windowInfo(make([]byte, 32), a, b, c), blob))
	twin := a
	twin.Info.SealedCID = b.Info.SealedCID
	verdict(t, "two sectors of one number", false)(VerifyWindow(ctx, windowInfo(draw, a, b, c, twin), blob))
	verdict(t, "no sectors", false)(VerifyWindow(ctx, windowInfo(draw), blob))
	old := windowInfo(draw, a, b, c)
	old.Proofs[0].PoStProof = abi.RegisteredPoStProof_StackedDrgWindow2KiBV1
	verdict(t, "challenges of version 1.0", false)(VerifyWindow(ctx, old, blob))
	old.Proofs[0].PoStProof = 99
	if _, err := VerifyWindow(ctx, old, blob); err == nil {
		t.Error("an unknown proof type was decided")
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := VerifyWindow(gone, windowInfo(draw, a, b, c), blob); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, _, err := ProveWindow(gone, miner, draw, []SectorAccess{a}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Every way a sector can be damaged makes it skipped, and the rest verifies.
func TestWindowSkips(t *testing.T) {
	ctx := context.Background()
	_, good := sealed(t, 1)
	for _, x := range []struct {
		name   string
		cause  error
		damage func(*poreptest.Sealed, *SectorAccess)
	}{
		{"replica", ErrDamaged, func(s *poreptest.Sealed, _ *SectorAccess) {
			for i := range s.Sealed.Bytes {
				s.Sealed.Bytes[i] = 0
			}
		}},
		{"replica not field elements", ErrDamaged, func(s *poreptest.Sealed, _ *SectorAccess) {
			for i := range s.Sealed.Bytes {
				s.Sealed.Bytes[i] = 0xff
			}
		}},
		{"replica cut short", ErrDamaged, func(s *poreptest.Sealed, _ *SectorAccess) { s.Sealed.Bytes = s.Sealed.Bytes[:100] }},
		{"tree", ErrDamaged, func(s *poreptest.Sealed, _ *SectorAccess) {
			s.Cache.File("sc-02-data-tree-r-last.dat").Bytes[0] ^= 1
		}},
		{"tree missing", ErrMissing, func(s *poreptest.Sealed, _ *SectorAccess) { _ = s.Cache.Remove("sc-02-data-tree-r-last.dat") }},
		{"p_aux", ErrOtherSeal, func(s *poreptest.Sealed, _ *SectorAccess) { s.Cache.File("p_aux").Bytes[40] ^= 1 }},
		{"p_aux missing", ErrMissing, func(s *poreptest.Sealed, _ *SectorAccess) { _ = s.Cache.Remove("p_aux") }},
		{"no replica", ErrMissing, func(_ *poreptest.Sealed, a *SectorAccess) { a.Sealed = nil }},
		{"tree cut short", ErrDamaged, func(s *poreptest.Sealed, _ *SectorAccess) {
			s.Cache.File("sc-02-data-tree-r-last.dat").Bytes = nil
		}},
		{"no commitment", ErrSealedCID, func(_ *poreptest.Sealed, a *SectorAccess) { a.Info.SealedCID = cid.Undef }},
		{"a data commitment", ErrSealedCID, func(s *poreptest.Sealed, a *SectorAccess) { a.Info.SealedCID = s.Request.UnsealedCID() }},
		{"other commitment", ErrOtherSeal, func(_ *poreptest.Sealed, a *SectorAccess) { a.Info.SealedCID = good.Info.SealedCID }},
	} {
		s, bad := sealed(t, 2)
		x.damage(s, &bad)
		blob, skipped, err := ProveWindow(ctx, miner, draw, []SectorAccess{bad, good})
		if err != nil || !slices.Equal(skipped, []abi.SectorNumber{2}) {
			t.Errorf("%s: skipped %v, %v", x.name, skipped, err)
			continue
		}
		verdict(t, x.name, true)(VerifyWindow(ctx, windowInfo(draw, good), blob))
		if err := SelfCheck(ctx, miner, bad); !errors.Is(err, x.cause) {
			t.Errorf("%s: the self-check says %v", x.name, err)
		}
		if _, err := ProveWinning(ctx, miner, draw, []SectorAccess{bad}); !errors.Is(err, x.cause) {
			t.Errorf("%s: the winning proof says %v", x.name, err)
		}
		_, faults, err := FindFaults(ctx, miner, draw, []SectorAccess{good, bad})
		if err != nil || len(faults) != 1 || faults[0].Sector != 2 || !errors.Is(faults[0], x.cause) ||
			!strings.Contains(faults[0].Error(), "sector 2") {
			t.Errorf("%s: faults %v, %v", x.name, faults, err)
		}
		blob, skipped, err = ProveWindow(ctx, miner, draw, []SectorAccess{bad})
		if blob != nil || len(skipped) != 1 || err != nil {
			t.Errorf("%s: alone: %d bytes, %v, %v", x.name, len(blob), skipped, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	_, a := sealed(f, 1)
	blob, _, err := ProveWindow(context.Background(), miner, draw, []SectorAccess{a})
	if err != nil {
		f.Fatal(err)
	}
	win, err := ProveWinning(context.Background(), miner, draw, []SectorAccess{a})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(blob)
	f.Add(win)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		ok, err := VerifyWindow(context.Background(), windowInfo(draw, a), b)
		if err != nil || ok != bytes.Equal(b, blob) {
			t.Errorf("window: %v, %v", ok, err)
		}
		ok, err = VerifyWinning(context.Background(), winningInfo(a, draw), b)
		if err != nil || ok != bytes.Equal(b, win) {
			t.Errorf("winning: %v, %v", ok, err)
		}
	})
}
