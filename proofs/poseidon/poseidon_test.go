package poseidon

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

type vectorFile struct {
	Pairs []struct {
		Custom1 string   `json:"custom1_digest_le"`
		Merkle2 string   `json:"merkletree2_digest_le"`
		In      []uint64 `json:"in"`
	} `json:"arity2_pairs_computed"`
	Arity8 struct {
		In  []string `json:"in_le"`
		Out string   `json:"out_le"`
	} `json:"arity8_real"`
	Merkle map[string]struct {
		Digest     string   `json:"digest_le"`
		Compressed string   `json:"sha256_compressed_constants_le"`
		MDS        string   `json:"sha256_mds_rows_le"`
		PreSparse  string   `json:"sha256_pre_sparse_rows_le"`
		Round      string   `json:"sha256_round_constants_le"`
		Sparse     string   `json:"sha256_sparse_le"`
		First      []string `json:"round_constants_first3_le"`
		RP         int      `json:"rp"`
	} `json:"merkle_tree_standard"`
}

func vectors(t testing.TB) (v vectorFile) {
	t.Helper()
	raw, err := os.ReadFile("testdata/poseidon.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Merkle) != 7 || len(v.Pairs) == 0 {
		t.Fatal("vectors are incomplete")
	}
	return v
}

func hexOf(e Element) string {
	b := Encode(e)
	return hex.EncodeToString(b[:])
}

func counting(n int) []Element {
	in := make([]Element, n)
	for i := range in {
		in[i].SetUint64(uint64(i))
	}
	return in
}

// inRow hashes in among others.
func inRow(h *Hasher, in []Element) Element {
	const n = 5
	src, dst := make([]Element, n*len(in)), make([]Element, n)
	copy(src[(n-2)*len(in):], in)
	h.HashRow(dst, src)
	return dst[n-2]
}

func digest(es ...[]Element) string {
	h := sha256.New()
	for _, s := range es {
		b := make([]byte, 32*len(s))
		EncodeRow(b, s)
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func TestConstantsAndDigests(t *testing.T) { onEveryPath(t, testConstantsAndDigests) }

func testConstantsAndDigests(t *testing.T) {
	for name, want := range vectors(t).Merkle {
		t.Run("arity "+name, func(t *testing.T) {
			arity, err := strconv.Atoi(name)
			if err != nil {
				t.Fatal(err)
			}
			h, err := New(arity)
			if err != nil {
				t.Fatal(err)
			}
			c := h.c
			var sparse [][]Element
			for _, s := range c.sparse {
				sparse = append(sparse, s.col, s.row)
			}
			for _, x := range []struct{ what, got, want string }{
				{"first round constant", hexOf(c.round[0]), want.First[0]},
				{"round constants", digest(c.round), want.Round},
				{"compressed constants", digest(c.compressed), want.Compressed},
				{"MDS", digest(c.mds...), want.MDS},
				{"pre-sparse", digest(c.preSparse...), want.PreSparse},
				{"sparse", digest(sparse...), want.Sparse},
				{"digest", hexOf(h.Hash(counting(arity))), want.Digest},
				{"digest in a row", hexOf(inRow(h, counting(arity))), want.Digest},
			} {
				if x.got != x.want {
					t.Errorf("%s: got %s, want %s", x.what, x.got, x.want)
				}
			}
		})
	}
}

func TestPairsAndRealNode(t *testing.T) { onEveryPath(t, testPairsAndRealNode) }

func testPairsAndRealNode(t *testing.T) {
	v := vectors(t)
	custom, err := NewCustom(2, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range v.Pairs {
		in := make([]Element, 2)
		in[0].SetUint64(p.In[0])
		in[1].SetUint64(p.In[1])
		if got := hexOf(custom.Hash(in)); got != p.Custom1 {
			t.Errorf("custom %v: got %s want %s", p.In, got, p.Custom1)
		}
		if got := hexOf(MustNew(2).Hash(in)); got != p.Merkle2 {
			t.Errorf("merkle %v: got %s want %s", p.In, got, p.Merkle2)
		}
		if got := hexOf(inRow(custom, in)); got != p.Custom1 {
			t.Errorf("custom %v in a row: got %s want %s", p.In, got, p.Custom1)
		}
	}
	var raw []byte
	for _, s := range v.Arity8.In {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		raw = append(raw, b...)
	}
	in := make([]Element, 8)
	if err := DecodeRow(in, raw); err != nil {
		t.Fatal(err)
	}
	if got := hexOf(MustNew(8).Hash(in)); got != v.Arity8.Out {
		t.Errorf("arity 8: got %s want %s", got, v.Arity8.Out)
	}
}

func TestRefusals(t *testing.T) {
	for _, a := range []int{-1, 0, 1, 3, 9, 37} {
		if _, err := New(a); err == nil {
			t.Errorf("arity %d accepted", a)
		}
	}
	for _, id := range []int{0, -1, 257} {
		if _, err := NewCustom(2, id); err == nil {
			t.Errorf("custom id %d accepted", id)
		}
	}
	r := fr.Modulus().FillBytes(make([]byte, 32))
	le := make([]byte, 64)
	for i := range r {
		le[32+i] = r[31-i]
	}
	if err := DecodeRow(make([]Element, 2), le); err == nil || !strings.Contains(err.Error(), "node 1 (") {
		t.Errorf("the field order as node 1: %v", err)
	}
	for _, n := range []int{0, 63, 65, 96} {
		if err := DecodeRow(make([]Element, 2), make([]byte, n)); err == nil {
			t.Errorf("two nodes decoded from %d bytes", n)
		}
	}
	le[32]-- // order - 1 is the largest element
	got := make([]Element, 2)
	if err := DecodeRow(got, le); err != nil {
		t.Error(err)
	}
	back := make([]byte, 64)
	EncodeRow(back, got)
	if string(back) != string(le) {
		t.Error("order-1 does not survive decoding and encoding")
	}
}

// Wrong lengths are mistakes of the caller and panic with the numbers.
func TestLengthsPanic(t *testing.T) {
	h := MustNew(8)
	for want, f := range map[string]func(){
		"7 elements given to arity 8":               func() { h.Hash(make([]Element, 7)) },
		"9 elements given to arity 8":               func() { h.Hash(make([]Element, 9)) },
		"15 elements do not hash to 2 at arity 8":   func() { h.HashRow(make([]Element, 2), make([]Element, 15)) },
		"129 elements do not hash to 16 at arity 8": func() { h.HashRow(make([]Element, 16), make([]Element, 129)) },
		"2 elements do not fill 63 bytes":           func() { EncodeRow(make([]byte, 63), make([]Element, 2)) },
		"no parameters for arity 7":                 func() { MustNew(7) },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
					t.Errorf("panic %q, want %q", got, want)
				}
			}()
			f()
		}()
	}
}
