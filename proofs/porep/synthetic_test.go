package porep

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"slices"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
)

const synth2KiB = abi.RegisteredSealProof_StackedDrg2KiBV1_1_Feat_SyntheticPoRep

func synthesized(t testing.TB) (*sealedSector, []byte) {
	t.Helper()
	s, _, blob := proved(t, synth2KiB)
	if err := s.synthesize(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	return s, blob
}

// The file equals the reference's, and after it the layers are not needed.
func TestSyntheticVector(t *testing.T) {
	ctx := context.Background()
	s, blob := synthesized(t)
	for _, v := range sectorVectors(t) {
		if v.Name != "StackedDrg2KiBV1_1_Feat_SyntheticPoRep" {
			continue
		}
		s.cache.check(t, v.AfterSynth)
		if sum := sha256.Sum256(blob); hex.EncodeToString(sum[:]) != v.C1.SHA256 {
			t.Errorf("proof from the layers: SHA-256 %x want %s", sum, v.C1.SHA256)
		}
	}
	if err := ClearCache(s.cache, synth2KiB); err != nil {
		t.Fatal(err)
	}
	names, err := s.cache.List()
	if want := []string{"p_aux", "sc-02-data-tree-r-last.dat", synthName, "t_aux"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("left %v, want %v", names, want)
	}
	again, err := Prove(ctx, s.s, s.req, s.sealed, s.cache)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again, blob) {
		t.Error("the proof from the file differs from that from the layers")
	}
	for seed := range byte(20) {
		s.req.Seed = bytes.Repeat([]byte{seed + 1}, 32)
		blob, err := Prove(ctx, s.s, s.req, s.sealed, s.cache)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := Verify(ctx, s.info(), blob); !ok || err != nil {
			t.Errorf("seed %d: %v, %v", seed, ok, err)
		}
	}
	if err := errors.Join(ClearSynthetic(s.cache), ClearSynthetic(s.cache)); err != nil {
		t.Fatal(err)
	}
	if _, err := Prove(ctx, s.s, s.req, s.sealed, s.cache); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing to prove from: %v", err)
	}
}

// Sizes that the reference's large sectors have, and all tree shapes.
func TestSyntheticForms(t *testing.T) {
	for nodes, want := range map[uint64]int64{1 << 6: 575_072, 1 << 30: 11_205_083_232} {
		par, err := newParams(10, nodes, false, synthetic)
		if err != nil {
			t.Fatal(err)
		}
		if got := par.synthFileSize(); got != want {
			t.Errorf("%d nodes: %d bytes, want %d", nodes, got, want)
		}
	}
	ctx := context.Background()
	for _, nodes := range []uint64{1 << 7, 1 << 9, 1 << 10} {
		s := sealedOf(t, nodes, synthetic)
		s.par.synthTotal = 24 // more would only take longer
		want, err := s.par.prove(ctx, s.s, &s.req, s.sealed, s.cache)
		if err != nil {
			t.Fatal(err)
		}
		task := s.synthetic()
		if err := s.par.synthesize(ctx, s.pc1.ReplicaID, &task, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.cache.Remove(layerName(1)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.par.prove(ctx, s.s, &s.req, s.sealed, s.cache); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d nodes: the file gives another proof: %v", nodes, err)
		}
	}
}

// An interrupted file is not used, and a damaged one never proves.
func TestSyntheticDamage(t *testing.T) {
	ctx := context.Background()
	s, blob := synthesized(t)
	file := s.cache.m[synthName]
	whole := bytes.Clone(file.b)
	if err := ClearCache(s.cache, synth2KiB); err != nil {
		t.Fatal(err)
	}
	damage := map[string]func(){
		"no header": func() { clear(file.b[:synthHeader]) },
		"cut":       func() { file.b = file.b[:len(file.b)-1] },
		"zero":      func() { clear(file.b[synthHeader:]) },
	}
	for name, do := range damage {
		file.b = bytes.Clone(whole)
		do()
		if _, err := Prove(ctx, s.s, s.req, s.sealed, s.cache); err == nil {
			t.Errorf("%s: proved", name)
		}
	}
	file.b = whole
	if again, err := Prove(ctx, s.s, s.req, s.sealed, s.cache); err != nil || !bytes.Equal(again, blob) {
		t.Errorf("the whole file does not prove: %v", err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Prove(gone, s.s, s.req, s.sealed, s.cache); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A stopped Synthesize leaves a file without a header; the next one finishes.
func TestSynthesizeStops(t *testing.T) {
	s, _, blob := proved(t, synth2KiB)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := s.synthesize(ctx, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if again, err := Prove(context.Background(), s.s, s.req, s.sealed, s.cache); err != nil || !bytes.Equal(again, blob) {
		t.Errorf("an unfinished file spoils proving from the layers: %v", err)
	}
	for what, spoil := range map[string]func(*SynthesizeTask){
		"another CommC":         func(t *SynthesizeTask) { t.CommC[0] ^= 1 },
		"no commitments":        func(t *SynthesizeTask) { t.Commitments = Commitments{} },
		"a short ticket":        func(t *SynthesizeTask) { t.Ticket = t.Ticket[:1] },
		"an interactive sector": func(t *SynthesizeTask) { t.Sector.Proof = test2KiB },
		"an unknown seal proof": func(t *SynthesizeTask) { t.Sector.Proof = 99 },
	} {
		task := s.synthetic()
		spoil(&task)
		if err := Synthesize(context.Background(), task, nil); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
	var last int64
	err = s.synthesize(context.Background(), func(stage string, done, total int64) {
		if stage == StageSynthetic && total == 64 {
			last = done
		}
	})
	if err != nil || last != 64 {
		t.Errorf("%d of 64 reported: %v", last, err)
	}
}

func FuzzSynthetic(f *testing.F) {
	s, _ := synthesized(f)
	g, err := s.par.graph()
	if err != nil {
		f.Fatal(err)
	}
	roots := synthRoots{d: s.req.CommD, c: s.req.CommC, r: s.req.CommRLast}
	node := newSynthSet(s.par.nodes, s.pc1.ReplicaID, s.req.CommR).at(0)
	whole := s.cache.m[synthName].b[synthHeader:][:s.par.synthSize()]
	f.Add(whole)
	f.Add([]byte{})
	f.Add(make([]byte, len(whole)))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := s.par.parseSynth(g, b, node, &roots)
		if err == nil && !bytes.Equal(appendSynth(nil, node, &c), b) {
			t.Error("what was read is not what is written")
		}
	})
}
