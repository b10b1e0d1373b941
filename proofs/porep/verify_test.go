package porep

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/commp"
)

const test2KiB = abi.RegisteredSealProof_StackedDrg2KiBV1_1

// proved is a 2 KiB sector sealed and proved through the exported functions.
func proved(t testing.TB, p abi.RegisteredSealProof) (*sealedSector, proof.SealVerifyInfo, []byte) {
	t.Helper()
	ctx := context.Background()
	par, err := paramsFor(p)
	if err != nil {
		t.Fatal(err)
	}
	out := &sealedSector{par: &par, s: Sector{Proof: p, Miner: 1000, Number: 42}, cache: newMemFiles()}
	out.data, out.sealed = vectorData(2048), &memFile{make([]byte, 2048)}
	raw := make([]byte, 2032)
	for i := range raw {
		raw[i] = byte(7*i+3) ^ byte(i>>8)
	}
	piece, err := commp.Sum(ctx, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	ticket, seed := bytes.Repeat([]byte{0x11}, 32), bytes.Repeat([]byte{0x22}, 32)
	var stages []string
	progress := func(stage string, done, total int64) {
		if done == total {
			stages = append(stages, stage)
		}
	}
	pieces := []abi.PieceInfo{{Size: piece.PaddedSize, PieceCID: piece.CID}}
	if out.pc1, err = PreCommit1(ctx, out.task1(ticket, pieces), LabelOptions{}, progress); err != nil {
		t.Fatal(err)
	}
	com, err := PreCommit2(ctx, *out.task2(), progress)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{StageTreeD, StageLabels, StageTreeC, StageTreeR}; !slices.Equal(stages, want) {
		t.Errorf("stages %v want %v", stages, want)
	}
	out.req = ProveRequest{Ticket: ticket, Seed: seed, Commitments: com}
	blob, err := Prove(ctx, out.s, out.req, out.sealed, out.cache)
	if err != nil {
		t.Fatal(err)
	}
	return out, out.info(), blob
}

func (s *sealedSector) info() proof.SealVerifyInfo {
	return proof.SealVerifyInfo{
		SealProof:             s.s.Proof,
		SectorID:              abi.SectorID{Miner: s.s.Miner, Number: s.s.Number},
		Randomness:            s.req.Ticket,
		InteractiveRandomness: s.req.Seed,
		SealedCID:             s.req.SealedCID(),
		UnsealedCID:           s.req.UnsealedCID(),
	}
}

// All ways of drawing challenges prove and verify; version 1.1 gives the
// reference's bytes.
func TestProveVerify(t *testing.T) {
	var v map[string]string
	loadJSON(t, "vanilla-2kib.json", &v)
	want, err := base64.StdEncoding.DecodeString(v["c1_inner_SealCommitPhase1Output_base64"])
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[abi.RegisteredSealProof]int{0: 28248, 5: 28248, 10: 28248, 15: 365208}
	for p, size := range sizes {
		_, info, blob := proved(t, p)
		if ok, err := Verify(context.Background(), info, blob); !ok || err != nil {
			t.Errorf("seal proof %d: %v, %v", p, ok, err)
		}
		if len(blob) != size {
			t.Errorf("seal proof %d: %d bytes, want %d", p, len(blob), size)
		}
		if p == test2KiB && !bytes.Equal(blob, want) {
			t.Error("the proof differs from the reference's")
		}
	}
}

// The lengths that the reference's large proofs have.
func TestBlobSizes(t *testing.T) {
	for p, want := range map[abi.RegisteredSealProof]int{6: 60120, 8: 11014808, 9: 11184728} {
		par, err := paramsFor(p)
		if err != nil {
			t.Fatal(err)
		}
		got := par.blobSize()
		if got != want {
			t.Errorf("seal proof %d: %d bytes, want %d", p, got, want)
		}
	}
}

func TestVerifyRejectsOtherPublicValues(t *testing.T) {
	ctx := context.Background()
	s, info, blob := proved(t, test2KiB)
	for name, change := range map[string]func(*proof.SealVerifyInfo){
		"miner":      func(i *proof.SealVerifyInfo) { i.Miner++ },
		"number":     func(i *proof.SealVerifyInfo) { i.Number++ },
		"ticket":     func(i *proof.SealVerifyInfo) { i.Randomness = bytes.Repeat([]byte{1}, 32) },
		"seed":       func(i *proof.SealVerifyInfo) { i.InteractiveRandomness = bytes.Repeat([]byte{1}, 32) },
		"no seed":    func(i *proof.SealVerifyInfo) { i.InteractiveRandomness = nil },
		"seal proof": func(i *proof.SealVerifyInfo) { i.SealProof = abi.RegisteredSealProof_StackedDrg2KiBV1 },
		"size":       func(i *proof.SealVerifyInfo) { i.SealProof = abi.RegisteredSealProof_StackedDrg8MiBV1_1 },
		"CommD":      func(i *proof.SealVerifyInfo) { i.UnsealedCID = commp.ZeroPiece(2048) },
		"CommR kind": func(i *proof.SealVerifyInfo) { i.SealedCID = i.UnsealedCID },
		"CommR": func(i *proof.SealVerifyInfo) {
			c := s.req.Commitments
			c.CommR = c.CommC
			i.SealedCID = c.SealedCID()
		},
		"undefined": func(i *proof.SealVerifyInfo) { *i = proof.SealVerifyInfo{SealProof: test2KiB} },
	} {
		bad := info
		change(&bad)
		if ok, err := Verify(ctx, bad, blob); ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	info.SealProof = 77
	if _, err := Verify(ctx, info, blob); err == nil {
		t.Error("an unknown seal proof was decided")
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	info.SealProof = test2KiB
	if _, err := Verify(gone, info, blob); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Proofs of other lengths, and of nothing, do not pass.
func TestWrongLengths(t *testing.T) {
	ctx := context.Background()
	_, info, blob := proved(t, test2KiB)
	for _, bad := range [][]byte{nil, blob[:len(blob)-1], append(bytes.Clone(blob), 0), make([]byte, len(blob))} {
		if ok, err := Verify(ctx, info, bad); ok || err != nil {
			t.Errorf("%d bytes: %v, %v", len(bad), ok, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	_, info, blob := proved(f, test2KiB)
	f.Add(blob)
	f.Add([]byte{})
	f.Add(binary.LittleEndian.AppendUint64(nil, 1<<63))
	f.Fuzz(func(t *testing.T, b []byte) {
		ok, err := Verify(context.Background(), info, b)
		if err != nil || ok != bytes.Equal(b, blob) {
			t.Errorf("%v, %v", ok, err)
		}
	})
}

func TestChallengeVectors(t *testing.T) {
	type set struct {
		Per   int      `json:"per_partition"`
		I0    []uint64 `json:"interactive_k0"`
		I9    []uint64 `json:"interactive_k9"`
		NI0   []uint64 `json:"non_interactive_k0"`
		NI12  []uint64 `json:"non_interactive_k12"`
		Idx0  []uint32 `json:"synthetic_indexes_k0"`
		Idx1  []uint32 `json:"synthetic_indexes_k1"`
		First []uint64 `json:"synthetic_set_first8"`
	}
	var v struct {
		K2    set    `json:"2KiB"`
		G32   set    `json:"32GiB"`
		G64   set    `json:"64GiB"`
		CommR string `json:"comm_r"`
		ID    string `json:"replica_id"`
		Seed  string `json:"seed"`
		Hard  struct {
			Synth    []uint64 `json:"synth"`
			Selected []uint64 `json:"selected10"`
		} `json:"synthetic_hardcoded"`
	}
	loadJSON(t, "porep_challenges.json", &v)
	id, commR, seed := node(t, v.ID), node(t, v.CommR), node(t, v.Seed)
	for nodes, w := range map[uint64]set{1 << 6: v.K2, 1 << 30: v.G32, 1 << 31: v.G64} {
		mk := func(f feature) *params {
			p, err := newParams(0, nodes, false, f)
			if err != nil {
				t.Fatal(err)
			}
			p.perPartition = w.Per
			return &p
		}
		same := func(what string, got, want any) {
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%d nodes, %s: %v want %v", nodes, what, got, want)
			}
		}
		same("interactive 0", mk(interactive).challenges(id, commR, seed, 0), w.I0)
		same("interactive 9", mk(interactive).challenges(id, commR, seed, 9), w.I9)
		same("non-interactive 0", mk(nonInteractive).challenges(id, commR, seed, 0), w.NI0)
		same("non-interactive 12", mk(nonInteractive).challenges(id, commR, seed, 12), w.NI12)
		same("synthetic 0", synthIndexes(min(nodes, maxSynthetic), id, seed, 0, w.Per), w.Idx0)
		same("synthetic 1", synthIndexes(min(nodes, maxSynthetic), id, seed, w.Per, w.Per), w.Idx1)
		syn, all := newSynthSet(nodes, id, commR), []uint64{}
		for i := range w.First {
			all = append(all, syn.at(uint64(i)))
		}
		same("synthetic set", all, w.First)
	}
	syn := newSynthSet(1024, [32]byte{55}, [32]byte{101})
	for i, want := range v.Hard.Synth {
		if got := syn.at(uint64(i)); got != want {
			t.Errorf("synthetic challenge %d: %d want %d", i, got, want)
		}
	}
}

// A t_aux written on mainnet for a 32 GiB sector.
func TestLargeTAux(t *testing.T) {
	var v struct {
		Golden struct {
			Base64 []byte `json:"base64"`
		} `json:"t_aux_32gib"`
	}
	loadJSON(t, "../../sdr/testdata/labels.json", &v)
	par, err := paramsFor(abi.RegisteredSealProof_StackedDrg32GiBV1_1)
	if err != nil {
		t.Fatal(err)
	}
	if got := par.tAux("/data/1/store/cache/s-t02620-2010"); !bytes.Equal(got, v.Golden.Base64) {
		t.Errorf("t_aux of %d bytes differs from the golden one of %d", len(got), len(v.Golden.Base64))
	}
}

func TestClearCache(t *testing.T) {
	s, _, _ := proved(t, test2KiB)
	for range 2 {
		if err := ClearCache(s.cache, test2KiB); err != nil {
			t.Fatal(err)
		}
		names, err := s.cache.List()
		if want := []string{"p_aux", "sc-02-data-tree-r-last.dat", "t_aux"}; err != nil || !slices.Equal(names, want) {
			t.Errorf("left %v, want %v", names, want)
		}
	}
	if _, err := Prove(context.Background(), s.s, s.req, s.sealed, s.cache); err == nil {
		t.Error("a cleared sector was proved")
	}
	var out bytes.Buffer
	err := Unseal(context.Background(), UnsealTask{
		Sector: s.s,
		Ticket: s.req.Ticket,
		CommD:  s.req.UnsealedCID(),
		Sealed: s.sealed,
		Out:    &out,
		Offset: 128,
		Size:   1024,
	}, LabelOptions{}, nil)
	if err != nil || !bytes.Equal(out.Bytes(), s.data[128:1152]) {
		t.Errorf("unsealing after clearing: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	ctx, data := context.Background(), bytes.NewReader(vectorData(2048))
	s := Sector{Proof: test2KiB, Miner: 1000, Number: 1}
	ticket := make([]byte, 32)
	first := PreCommit1Task{Sector: s, Ticket: ticket, Unsealed: data, Cache: newMemFiles()}
	if _, err := PreCommit1(ctx, first, LabelOptions{}, nil); !errors.Is(err, ErrPieces) {
		t.Errorf("data that are not the pieces: %v", err)
	}
	for _, spoil := range []func(*PreCommit1Task){
		func(t *PreCommit1Task) { t.Ticket = ticket[:31] },
		func(t *PreCommit1Task) { t.Sector.Proof = 99 },
	} {
		wrong := first
		spoil(&wrong)
		if _, err := PreCommit1(ctx, wrong, LabelOptions{}, nil); err == nil || errors.Is(err, ErrPieces) {
			t.Errorf("the first phase of %s with a ticket of %d bytes: %v", wrong.Sector, len(wrong.Ticket), err)
		}
	}
	for _, layers := range []int{2, 11} { // missing; not of this seal proof
		second := PreCommit2Task{Sector: s, Unsealed: data, Sealed: &memFile{make([]byte, 2048)}, Cache: newMemFiles()}
		second.PC1.Layers = layers
		if _, err := PreCommit2(ctx, second, nil); err == nil {
			t.Errorf("the second phase of %d layers was accepted", layers)
		}
	}
	if _, err := Prove(ctx, s, ProveRequest{}, data, newMemFiles()); err == nil {
		t.Error("a proof without ticket and seed was made")
	}
	if err := ClearCache(newMemFiles(), 99); err == nil {
		t.Error("the cache of an unknown seal proof was cleared")
	}
	sealed, _, _ := proved(t, test2KiB)
	sealed.sealed.b[40] ^= 1
	sealed.sealed.b[1000] ^= 1
	for i := range sealed.sealed.b {
		sealed.sealed.b[i] &^= 0xf0
	}
	if _, err := Prove(ctx, sealed.s, sealed.req, sealed.sealed, sealed.cache); err == nil {
		t.Error("a damaged replica was proved")
	}
}

func BenchmarkSeal8MiB(b *testing.B) {
	var v sectorVector
	for _, w := range sectorVectors(b) {
		if w.Size == 8<<20 {
			v = w
		}
	}
	for range b.N {
		s := seal(b, &v)
		if _, err := s.par.prove(context.Background(), s.s, &s.req, s.sealed, s.cache); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify2KiB(b *testing.B) {
	_, info, blob := proved(b, test2KiB)
	for range b.N {
		if ok, err := Verify(context.Background(), info, blob); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
