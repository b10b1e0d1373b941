package snarkpack

import (
	"bytes"
	"context"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"quarry/proofs/groth16"
)

func srsBytes(t testing.TB, s *SRS) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := s.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("wrote %d bytes, says %d: %v", b.Len(), n, err)
	}
	return b.Bytes()
}

func openBytes(b []byte) (*SRSFile, error) { return OpenSRS(bytes.NewReader(b), int64(len(b))) }

func TestSRSFile(t *testing.T) {
	ctx := context.Background()
	v := loadVectors(t, 8)
	b := srsBytes(t, v.srs)
	if want := 4*4 + 16*2*(g1Length+g2Length); len(b) != want {
		t.Fatalf("%d bytes, want %d", len(b), want)
	}
	f, err := openBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	if f.MaxProofs() != 8 || v.srs.MaxProofs() != 8 {
		t.Errorf("file for %d, memory for %d proofs, want 8", f.MaxProofs(), v.srs.MaxProofs())
	}
	key, err := f.VerifierKey(ctx)
	if err != nil || !reflect.DeepEqual(key, v.key) {
		t.Errorf("verifier key differs: %v", err)
	}
	whole := *v.srs
	for _, n := range []int{2, 4, 8} {
		s, err := f.Read(ctx, n, 2)
		if err != nil {
			t.Fatal(err)
		}
		want := SRS{whole.GAlpha[:2*n], whole.GBeta[:2*n], whole.HAlpha[:n], whole.HBeta[:n]}
		if s.MaxProofs() != n || !reflect.DeepEqual(*s, want) {
			t.Errorf("read for %d proofs: other points", n)
		}
		if ok, err := s.Check(ctx); err != nil || !ok {
			t.Errorf("read for %d proofs: check says %v, %v", n, ok, err)
		}
		v.srs = s
		if !verify(t, v.statement(n, V2), v.aggregate(t, n, V2)) {
			t.Errorf("aggregate with an SRS read for %d proofs does not verify", n)
		}
	}
	for _, n := range []int{0, 1, 3, 16} {
		if _, err := f.Read(ctx, n, 1); err == nil {
			t.Errorf("read for %d proofs: no error", n)
		}
	}
}

func TestSRSFileRefuses(t *testing.T) {
	v := loadVectors(t, 2)
	good := srsBytes(t, v.srs) // 4 points in every vector
	second := 4 + 4*g1Length
	third := 2 * second
	edit := func(f func(b []byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"empty":     {nil, "ends before the powers of α in G1"},
		"truncated": {good[:len(good)-1], "counts demand"},
		"cut":       {good[:third], "ends before the powers of α in G2"},
		"extended":  {append(bytes.Clone(good), 0), "counts demand"},
		"few points": {edit(func(b []byte) {
			binary.BigEndian.PutUint32(b, 3)
		}), "must be 4 to"},
		"too many points": {edit(func(b []byte) {
			binary.BigEndian.PutUint32(b[second:], MaxPowers+1)
		}), "must be 4 to"},
		"count beyond the file": {edit(func(b []byte) {
			binary.BigEndian.PutUint32(b[third:], MaxPowers)
		}), "ends before the powers of β in G2"},
		"flipped G1": {edit(func(b []byte) { b[4+2*g1Length+20] ^= 1 }), "powers of α in G1, number 2"},
		"infinity": {edit(func(b []byte) {
			p := b[4+g1Length : 4+2*g1Length]
			clear(p)
			p[0] = 0xc0
		}), "powers of α in G1, number 1: point is infinity"},
		"outside the subgroup": {edit(func(b []byte) {
			p := outsideG1()
			raw := p.Bytes()
			copy(b[second+4+3*g1Length:], raw[:])
		}), "powers of β in G1, number 3"},
		"G2 not compressed": {edit(func(b []byte) { b[third+4] &= 0x7f }), "powers of α in G2, number 0"},
		"other generator": {edit(func(b []byte) {
			copy(b[4:4+g1Length], b[4+g1Length:4+2*g1Length])
		}), "different generators"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := openBytes(c.b)
			if err == nil {
				_, err = f.Read(context.Background(), 2, 2)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestSRSCheck(t *testing.T) {
	ctx := context.Background()
	v := loadVectors(t, 4)
	if ok, err := v.srs.Check(ctx); err != nil || !ok {
		t.Fatalf("good SRS: %v, %v", ok, err)
	}
	g1, g2 := groth16.Generators()
	for name, f := range map[string]func(s *SRS){
		"G1 point":      func(s *SRS) { s.GAlpha[5].Add(&s.GAlpha[5], &g1) },
		"last G1 point": func(s *SRS) { s.GBeta[7].Add(&s.GBeta[7], &g1) },
		"G2 point":      func(s *SRS) { s.HBeta[3].Add(&s.HBeta[3], &g2) },
		"last G2 point": func(s *SRS) { s.HAlpha[7].Add(&s.HAlpha[7], &g2) },
		"generator":     func(s *SRS) { s.GBeta[0].Add(&s.GBeta[0], &g1) },
		"other secret":  func(s *SRS) { s.HAlpha = s.HBeta },
		"too short":     func(s *SRS) { s.GAlpha = s.GAlpha[:3] },
		"infinity":      func(s *SRS) { s.GAlpha[0].SetInfinity(); s.GBeta[0].SetInfinity() },
	} {
		w := loadVectors(t, 4)
		f(w.srs)
		if ok, err := w.srs.Check(ctx); err != nil || ok {
			t.Errorf("%s changed: %v, %v", name, ok, err)
		}
	}
}

func TestNewSRSRefuses(t *testing.T) {
	a, b := fr.NewElement(5), fr.NewElement(7)
	for name, c := range map[string]struct {
		alpha, beta fr.Element
		n           int
	}{
		"no power of two": {a, b, 3},
		"too many":        {a, b, 2 * MaxProofs},
		"negative":        {a, b, -2},
		"zero":            {fr.Element{}, b, 2},
		"one":             {a, fr.One(), 2},
		"same":            {a, a, 2},
	} {
		if _, err := NewSRS(context.Background(), c.alpha, c.beta, c.n); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := NewSRS(ctx, a, b, 2); err == nil {
		t.Error("ended context: no error")
	}
}

func FuzzOpenSRS(f *testing.F) {
	v := loadVectors(f, 2)
	good := srsBytes(f, v.srs)
	f.Add(good)
	f.Add(good[:100])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := openBytes(b)
		if err != nil {
			return
		}
		ctx := context.Background()
		s, err := file.Read(ctx, 2, 1)
		if err != nil {
			return
		}
		if _, err := s.Check(ctx); err != nil {
			t.Fatal(err)
		}
	})
}
