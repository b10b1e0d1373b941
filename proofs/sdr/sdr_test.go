package sdr

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
)

type graphVectors struct {
	Block0  []uint32 `json:"chacha8_zero_key_block0_words"`
	Block1  []uint32 `json:"chacha8_zero_key_block1_words"`
	Feistel []struct {
		HalfBits uint     `json:"half_bits"`
		Keys     []uint64 `json:"keys"`
		Elements uint64   `json:"num_elements"`
		Permute  []uint64 `json:"permute_0_to_4"`
	} `json:"feistel"`
	Graphs []struct {
		Seed     string   `json:"drg_seed"`
		HalfBits uint     `json:"feistel_half_bits"`
		Keys     []string `json:"feistel_keys"`
		Legacy   bool     `json:"legacy_v1_0"`
		Nodes    uint64   `json:"nodes"`
		SHA256   string   `json:"parent_cache_sha256"`
		ID       byte     `json:"porep_id_first_byte"`
		Samples  []struct {
			Node    uint64   `json:"node"`
			Parents []uint32 `json:"parents"`
		} `json:"samples"`
	} `json:"graphs"`
}

func load(t testing.TB, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}

func TestChaChaAndFeistel(t *testing.T) {
	var v graphVectors
	load(t, "graph.json", &v)
	for i, want := range [][]uint32{v.Block0, v.Block1} {
		got := chachaBlock(new([8]uint32), uint32(i))
		if len(want) != 16 || [16]uint32(want) != got {
			t.Errorf("block %d: got %v want %v", i, got, want)
		}
	}
	for _, f := range v.Feistel {
		if got := halfBits(f.Elements); got != f.HalfBits {
			t.Errorf("half bits of %d: got %d want %d", f.Elements, got, f.HalfBits)
		}
		seen := map[uint64]bool{}
		for x := range f.Elements {
			y := feistelPermute(x, f.Elements, f.HalfBits, (*[4]uint64)(f.Keys))
			if x < uint64(len(f.Permute)) && y != f.Permute[x] {
				t.Errorf("permutation of %d: %d goes to %d, not %d", f.Elements, x, y, f.Permute[x])
			}
			seen[y] = true
		}
		if uint64(len(seen)) != f.Elements {
			t.Errorf("permutation of %d has %d images", f.Elements, len(seen))
		}
	}
}

func TestGraphs(t *testing.T) {
	var v graphVectors
	load(t, "graph.json", &v)
	if len(v.Graphs) != 20 {
		t.Fatalf("%d graphs in the vectors", len(v.Graphs))
	}
	for _, w := range v.Graphs {
		g, err := NewGraph([32]byte{w.ID}, w.Nodes, w.Legacy)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(g.seed[:]); got != w.Seed || g.halfBits != w.HalfBits {
			t.Errorf("id %d: seed %s half bits %d, want %s and %d", w.ID, got, g.halfBits, w.Seed, w.HalfBits)
		}
		for _, s := range w.Samples {
			base, exp := g.Parents(s.Node)
			got := append(base[:], exp[:]...)
			for i := range got {
				if got[i] != s.Parents[i] {
					t.Errorf("id %d node %d: parents %v want %v", w.ID, s.Node, got, s.Parents)
					break
				}
			}
		}
	}
}

// The reference publishes the digest of each parent cache file: all parents of
// all nodes.
func TestParentCacheDigests(t *testing.T) {
	var v graphVectors
	load(t, "graph.json", &v)
	checked := 0
	for _, w := range v.Graphs {
		if w.SHA256 == "" || w.Nodes > 1<<18 || (w.Nodes > 1<<10 && testing.Short()) {
			continue
		}
		checked++
		g, err := NewGraph([32]byte{w.ID}, w.Nodes, w.Legacy)
		if err != nil {
			t.Fatal(err)
		}
		table, err := g.table(context.Background(), g)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		if err := binary.Write(h, binary.LittleEndian, table[:g.nodes*Degree]); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != w.SHA256 {
			t.Errorf("id %d: parent cache %s want %s", w.ID, got, w.SHA256)
		}
	}
	if checked < 2 {
		t.Fatalf("%d graphs checked", checked)
	}
}

func TestLastLabels(t *testing.T) {
	replica := Node(bytes.Repeat([]byte{9}, 32))
	for _, w := range []struct {
		bytes  uint64
		id     byte
		legacy bool
		label  string
	}{
		{2048, 0, true, "04ba0f9a6ba9fad35e4806d183a281eab3c25afa9a1bd5e3378da6f1f4f46204"},
		{4096, 0, true, "86daa8c4521e197e48c1fae6c9a1e85ab894a8883b9f23cebe531ddcd1004c23"},
		{2048, 0x7b, false, "cfef0db78bf3b3ab9f1169774d2e7a77bc9054499d954834b51ca7c788110206"},
		{4096, 0x7b, false, "6d67c468cf81ab2289c1c9c72fa8777a232de4c1323dc0c6bd552ccc187c770f"},
	} {
		g, err := NewGraph([32]byte(bytes.Repeat([]byte{w.id}, 32)), w.bytes/32, w.legacy)
		if err != nil {
			t.Fatal(err)
		}
		layers := make([][]byte, 0, 11)
		last, err := GenerateLayers(context.Background(), g, replica, 11, func(_ int, l []byte) error {
			layers = append(layers, bytes.Clone(l))
			return nil
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(last[len(last)-32:]); got != w.label {
			t.Errorf("%d bytes, id %x: last label %s want %s", w.bytes, w.id, got, w.label)
		}
		checkLabels(t, g, replica, layers)
	}
}

// Label, which a verifier uses, must agree with the bulk kernel on every node.
func checkLabels(t *testing.T, g *Graph, replica Node, layers [][]byte) {
	t.Helper()
	at := func(l int, n uint64) Node { return Node(layers[l-1][n*32 : n*32+32]) }
	for l := 1; l <= len(layers); l++ {
		for n := range g.nodes {
			b, e := g.Parents(n)
			var base [BaseDegree]Node
			var exp [ExpDegree]Node
			for i, p := range b {
				base[i] = at(l, uint64(p))
			}
			for i, p := range e {
				if l > 1 {
					exp[i] = at(l-1, uint64(p))
				}
			}
			parents := RepeatParents(l, &base, &exp)
			if Label(replica, l, n, &parents) != at(l, n) {
				t.Fatalf("layer %d node %d differs", l, n)
			}
		}
	}
}

func TestGenerateStops(t *testing.T) {
	g, err := NewGraph([32]byte{5}, 64, false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := GenerateLayers(ctx, g, Node{}, 2, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	bad := errors.New("disk full")
	if _, err := GenerateLayers(context.Background(), g, Node{}, 2, func(int, []byte) error { return bad }, nil); !errors.Is(err, bad) {
		t.Errorf("sink error: %v", err)
	}
}
