package porep

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/merkle"
	"quarry/proofs/poseidon"
)

// The reference's JSON gives the proof back, of every tree variant.
func TestParseProofJSON(t *testing.T) {
	ctx := context.Background()
	raw, err := os.ReadFile("testdata/c1-2kib-v1_1.json")
	if err != nil {
		t.Fatal(err)
	}
	_, _, blob := proved(t, test2KiB)
	got, err := ParseProofJSON(test2KiB, raw)
	if err != nil || !bytes.Equal(got, blob) {
		t.Errorf("the reference's JSON gives another proof: %v", err)
	}
	for _, p := range []abi.RegisteredSealProof{synth2KiB, ni2KiB} {
		_, _, blob := proved(t, p)
		raw, err := ProofJSON(p, blob)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseProofJSON(p, raw); err != nil || !bytes.Equal(got, blob) {
			t.Errorf("seal proof %d does not come back: %v", p, err)
		}
	}
	for _, nodes := range []uint64{1 << 7, 1 << 10} { // Sub and Top paths
		s := sealedOf(t, nodes, interactive)
		blob, err := s.par.prove(ctx, s.s, &s.req, s.sealed, s.cache)
		if err != nil {
			t.Fatal(err)
		}
		v, err := s.par.unmarshal(blob)
		if err != nil {
			t.Fatal(err)
		}
		js, err := json.Marshal(challengeToJSON(&v.Partitions[0][0]))
		if err != nil {
			t.Fatal(err)
		}
		var back challengeJSON
		var c challengeProof
		if err := errors.Join(json.Unmarshal(js, &back), back.proof(&c)); err != nil {
			t.Fatal(err)
		}
		f := s.par.forms()
		if !bytes.Equal(f.appendChallenge(nil, &c), f.appendChallenge(nil, &v.Partitions[0][0])) {
			t.Errorf("%d nodes: a challenge does not come back", nodes)
		}
	}
}

func TestParseProofJSONRefuses(t *testing.T) {
	raw, err := os.ReadFile("testdata/c1-2kib-v1_1.json")
	if err != nil {
		t.Fatal(err)
	}
	s := string(bytes.TrimSpace(raw))
	for name, bad := range map[string]string{
		"empty":           "",
		"null":            "null",
		"another name":    strings.Replace(s, `"StackedDrg2KiBV1_1"`, `"StackedDrg2KiBV1"`, 1),
		"another key":     strings.Replace(s, `{"StackedDrg2KiBV1":`, `{"StackedDrg2KiBV1_1":`, 1),
		"longer array":    strings.Replace(s, `"comm_r":[`, `"comm_r":[7,`, 1),
		"shorter array":   strings.Replace(s, `"root":[3,`, `"root":[`, 1),
		"unknown field":   strings.Replace(s, `{"registered_proof"`, `{"x":1,"registered_proof"`, 1),
		"missing field":   strings.Replace(s, `"index":1`, `"indes":1`, 1),
		"position":        strings.Replace(s, `"index":1}`, `"index":9}`, 1),
		"variant":         strings.Replace(s, `"Single"`, `"Sub"`, 1),
		"no partitions":   `{"registered_proof":"StackedDrg2KiBV1_1","vanilla_proofs":{"StackedDrg2KiBV1":[]}}`,
		"cut":             s[:len(s)-1],
		"something after": s + "{}",
		"too long":        s + strings.Repeat(" ", 1<<20),
	} {
		if _, err := ParseProofJSON(test2KiB, []byte(bad)); !errors.Is(err, errJSON) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseProofJSON(abi.RegisteredSealProof_StackedDrg8MiBV1_1, raw); err == nil {
		t.Error("a proof of another size was accepted")
	}
	if _, err := ParseProofJSON(99, raw); err == nil {
		t.Error("seal proof 99 accepted")
	}
}

// ffiPC1 puts the vector's inner JSON into what filecoin-ffi wraps it in.
func ffiPC1(t testing.TB, proof abi.RegisteredSealProof, inner string) string {
	t.Helper()
	var in struct {
		Labels json.RawMessage `json:"labels"`
		Config json.RawMessage `json:"config"`
		CommD  json.RawMessage `json:"comm_d"`
	}
	if err := json.Unmarshal([]byte(inner), &in); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"registered_proof":"%s","labels":{"%s":%s},"config":%s,"comm_d":%s}`,
		proofName(proof), vanillaKey(proof), in.Labels, in.Config, in.CommD)
}

func TestPreCommit1JSON(t *testing.T) {
	checked := 0
	for _, v := range sectorVectors(t) {
		if strings.HasSuffix(v.Name, "-id5") || v.Size > 2048 {
			continue
		}
		id := node(t, v.PorepID)
		p := abi.RegisteredSealProof(id[0])
		s, _, _ := proved(t, p)
		want := ffiPC1(t, p, v.PC1JSON)
		if got, err := PreCommit1JSON(p, s.pc1, "cache"); err != nil || string(got) != want {
			t.Errorf("%s: %s want %s (%v)", v.Name, got, want, err)
		}
		out, err := ParsePreCommit1JSON(s.s, s.req.Ticket, []byte(want))
		if err != nil || out != s.pc1 {
			t.Errorf("%s: %+v want %+v (%v)", v.Name, out, s.pc1, err)
		}
		checked++
		for name, bad := range map[string]string{
			"size":   strings.Replace(want, `"size":64`, `"size":65`, 1),
			"layer":  strings.Replace(want, `layer-2`, `layer-3`, 1),
			"path":   strings.Replace(want, `"path":"cache"`, `"path":"other"`, 1),
			"name":   strings.Replace(want, proofName(p), "StackedDrg8MiBV1", 1),
			"long":   want + strings.Repeat(" ", 1<<20),
			"array":  strings.Replace(want, `"comm_d":[`, `"comm_d":[1,`, 1),
			"cut":    want[:len(want)-2],
			"object": "{}",
		} {
			if _, err := ParsePreCommit1JSON(s.s, s.req.Ticket, []byte(bad)); !errors.Is(err, errJSON) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if checked != 3 {
		t.Errorf("%d sectors checked", checked)
	}
	odd, err := PreCommit1JSON(test2KiB, PreCommit1Out{Layers: 2}, `/a<b>&"c`)
	if _, err2 := ParsePreCommit1JSON(Sector{Proof: test2KiB}, make([]byte, 32), odd); err != nil || err2 != nil ||
		!bytes.Contains(odd, []byte(`/a<b>&\"c`)) {
		t.Errorf("an odd path: %s (%v, %v)", odd, err, err2)
	}
	_, err1 := PreCommit1JSON(test2KiB, PreCommit1Out{Layers: 11}, "cache")
	_, err2 := PreCommit1JSON(99, PreCommit1Out{}, "cache")
	_, err3 := ParsePreCommit1JSON(Sector{Proof: 99}, nil, nil)
	if err1 == nil || err2 == nil || err3 == nil {
		t.Error("a wrong call was accepted")
	}
}

func TestTAux(t *testing.T) {
	for p := range abi.RegisteredSealProof(endProofs) {
		par, err := paramsFor(p)
		if err != nil {
			t.Fatal(err)
		}
		b := par.tAux("/a/path")
		got, err := parseTAux(par.shape, b)
		if want := (tAuxInfo{path: "/a/path", layers: par.layers, discard: par.shape.DefaultDiscard()}); err != nil || got != want {
			t.Errorf("seal proof %d: %+v want %+v (%v)", p, got, want, err)
		}
		for i := range b {
			bad := bytes.Clone(b)
			bad[i] ^= 0x80
			if got, err := parseTAux(par.shape, bad); err == nil && got.path == "/a/path" {
				t.Errorf("seal proof %d: byte %d changed: accepted as %+v", p, i, got)
			}
		}
	}
}

// A sector whose tree-r-last was stored with another number of discarded rows.
func TestOtherDiscard(t *testing.T) {
	ctx := context.Background()
	s := sealedOf(t, 1<<7, interactive)
	want, err := s.par.prove(ctx, s.s, &s.req, s.sealed, s.cache)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.par.buildTree(ctx, treeJob{
		cache: s.cache,
		kind:  treeRLast,
		first: 1,
		src:   leavesOf(s.sealed),
		done:  func(uint64) {},
	}); err != nil {
		t.Fatal(err)
	}
	if n := len(s.cache.m["sc-02-data-tree-r-last-0.dat"].b); n != 9*32 {
		t.Fatalf("the tree has %d bytes", n)
	}
	if got, err := s.par.prove(ctx, s.s, &s.req, s.sealed, s.cache); err != nil || !bytes.Equal(got, want) {
		t.Errorf("another proof: %v", err)
	}
	s.cache.m["sc-02-data-tree-r-last-0.dat"].b = make([]byte, 33)
	if _, err := s.par.prove(ctx, s.s, &s.req, s.sealed, s.cache); err == nil {
		t.Error("a tree of no known length was used")
	}
}

func leavesOf(f *memFile) merkle.Leaves {
	return func(_ context.Context, start uint64, dst []poseidon.Element) error {
		return readElements(f, dst, make([]byte, len(dst)*merkle.NodeSize), start)
	}
}

func FuzzParseProofJSON(f *testing.F) {
	raw, err := os.ReadFile("testdata/c1-2kib-v1_1.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		blob, err := ParseProofJSON(test2KiB, b)
		if err != nil {
			return
		}
		if again, err := ProofJSON(test2KiB, blob); err != nil || sameJSON(b, again) != nil {
			t.Errorf("what was read is not what is written: %v", err)
		}
	})
}

func FuzzParsePreCommit1JSON(f *testing.F) {
	raw, err := PreCommit1JSON(test2KiB, PreCommit1Out{Layers: 2}, "cache")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"labels":{"StackedDrg2KiBV1":{"labels":[{}]}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := ParsePreCommit1JSON(Sector{Proof: test2KiB}, make([]byte, 32), b)
		if err == nil && out.Layers != 2 {
			t.Errorf("%+v", out)
		}
	})
}

func FuzzTAux(f *testing.F) {
	par, err := paramsFor(test2KiB)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(par.tAux("cache"))
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, 64))
	f.Fuzz(func(t *testing.T, b []byte) {
		if aux, err := parseTAux(par.shape, b); err == nil && !bytes.Equal(aux.bytes(par.shape), b) {
			t.Error("what was read is not what is written")
		}
	})
}

// Any p_aux gives its two halves or an error, and proves nothing that is wrong.
func FuzzPAux(f *testing.F) {
	f.Add(make([]byte, 64))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		cache := newMemFiles()
		cache.m[pAuxName] = &memFile{b}
		c, r, err := ReadAux(cache)
		if (err == nil) != (len(b) == 64) || err == nil && !bytes.Equal(append(c[:], r[:]...), b) {
			t.Errorf("%x, %x, %v", c, r, err)
		}
	})
}
