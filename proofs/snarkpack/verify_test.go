package snarkpack

import (
	"context"
	"errors"
	"os"
	"reflect"
	"testing"
	"time"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"quarry/proofs/groth16"
)

func verify(t testing.TB, st Statement, p *Proof) bool {
	t.Helper()
	ok, err := Verify(context.Background(), st, p)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func TestPaddingAndSizes(t *testing.T) {
	v := loadVectors(t, 16)
	for _, version := range []Version{V1, V2} {
		for _, n := range []int{1, 3, 5, 8, 9, 16} {
			p := v.aggregate(t, n, version)
			if p.Count() != PaddedCount(n) {
				t.Fatalf("n=%d: aggregate of %d", n, p.Count())
			}
			b, err := p.MarshalBinary()
			if err != nil || len(b) != ProofLength(p.Count()) {
				t.Fatalf("n=%d: %d bytes, %v", n, len(b), err)
			}
			ok, err := VerifyBytes(context.Background(), v.statement(n, version), b)
			if err != nil || !ok {
				t.Errorf("n=%d V%d: %v, %v", n, version, ok, err)
			}
		}
	}
}

func TestWorkersDoNotMatter(t *testing.T) {
	v := loadVectors(t, 4)
	for _, workers := range []int{1, 2, 7} {
		p, err := Aggregate(context.Background(), v.srs, v.list(4), Options{Version: V2, Include: v.include, Workers: workers})
		if err != nil {
			t.Fatal(err)
		}
		b, err := p.MarshalBinary()
		if err != nil || string(b) != string(v.golden[3].proof) {
			t.Errorf("%d workers: another aggregate (%v)", workers, err)
		}
	}
}

func TestVerifyRefusesStatement(t *testing.T) {
	v := loadVectors(t, 8)
	p := v.aggregate(t, 4, V2)
	changed := func(f func(st *Statement)) Statement {
		st := v.statement(4, V2)
		f(&st)
		return st
	}
	other := fr.NewElement(36)
	otherSRS, err := NewSRS(context.Background(), fr.NewElement(5), fr.NewElement(7), 2)
	if err != nil {
		t.Fatal(err)
	}
	otherKey, err := otherSRS.VerifierKey()
	if err != nil {
		t.Fatal(err)
	}
	if !verify(t, v.statement(4, V2), p) {
		t.Fatal("unchanged statement does not verify")
	}
	for name, st := range map[string]Statement{
		"no inputs":            v.statement(0, V2),
		"fewer proofs":         v.statement(2, V2),
		"more proofs":          v.statement(5, V2),
		"version 1":            v.statement(4, V1),
		"version 0":            v.statement(4, 0),
		"version 3":            v.statement(4, 3),
		"no include":           changed(func(st *Statement) { st.Include = nil }),
		"longer include":       changed(func(st *Statement) { st.Include = append(append([]byte{}, st.Include...), 0) }),
		"input short":          changed(func(st *Statement) { st.Inputs[1] = nil }),
		"input long":           changed(func(st *Statement) { st.Inputs[1] = []fr.Element{v.input[0], v.input[0]} }),
		"first input":          changed(func(st *Statement) { st.Inputs[0] = []fr.Element{other} }),
		"last input":           changed(func(st *Statement) { st.Inputs[3] = []fr.Element{other} }),
		"all inputs":           changed(func(st *Statement) { st.Inputs = [][]fr.Element{{other}, {other}, {other}, {other}} }),
		"another SRS":          changed(func(st *Statement) { st.Key = otherKey }),
		"alpha and beta mixed": changed(func(st *Statement) { st.Key.GAlpha, st.Key.GBeta = st.Key.GBeta, st.Key.GAlpha }),
		"another circuit": changed(func(st *Statement) {
			c := *st.Circuit
			c.DeltaG2 = c.GammaG2
			st.Circuit = &c
		}),
	} {
		if verify(t, st, p) {
			t.Errorf("%s: verifies", name)
		}
	}
}

// TestEveryElementCounts replaces each element of an aggregate, one at a time, by
// another of its group: none may be without effect.
func TestEveryElementCounts(t *testing.T) {
	v := loadVectors(t, 4)
	g1, g2 := groth16.Generators()
	gt, err := bls.Pair([]bls.G1Affine{g1}, []bls.G2Affine{g2})
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []Version{V1, V2} {
		p := v.aggregate(t, 4, version)
		st := v.statement(4, version)
		elements := fieldsOf(p)
		if want := 5 + 1 + 2*12 + 3 + 8; len(elements) != want {
			t.Fatalf("found %d elements, want %d", len(elements), want)
		}
		for i, e := range elements {
			switch x := e.(type) {
			case *bls.GT:
				old := *x
				x.Mul(x, &gt)
				if verify(t, st, p) {
					t.Errorf("V%d: element %d (target group) does not count", version, i)
				}
				*x = old
			case *bls.G1Affine:
				old := *x
				x.Add(x, &g1)
				if verify(t, st, p) {
					t.Errorf("V%d: element %d (G1) does not count", version, i)
				}
				x.SetInfinity()
				if verify(t, st, p) {
					t.Errorf("V%d: element %d (G1) may be infinity", version, i)
				}
				*x = old
			case *bls.G2Affine:
				old := *x
				x.Add(x, &g2)
				if verify(t, st, p) {
					t.Errorf("V%d: element %d (G2) does not count", version, i)
				}
				x.SetInfinity()
				if verify(t, st, p) {
					t.Errorf("V%d: element %d (G2) may be infinity", version, i)
				}
				*x = old
			}
		}
		if !verify(t, st, p) {
			t.Fatalf("V%d: restored aggregate does not verify", version)
		}
	}
}

// fieldsOf lists pointers to all group elements of an aggregate.
func fieldsOf(p *Proof) []any {
	var out []any
	add := func(c *pair) { out = append(out, &c.t, &c.u) }
	add(&p.comAB)
	add(&p.comC)
	out = append(out, &p.ipAB, &p.aggC)
	for i := range p.round {
		r := &p.round[i]
		for _, c := range []*pair{&r.abL, &r.abR, &r.cL, &r.cR} {
			add(c)
		}
		out = append(out, &r.zabL, &r.zabR, &r.zcL, &r.zcR)
	}
	out = append(out, &p.finalA, &p.finalB, &p.finalC)
	for i := range 2 {
		out = append(out, &p.v[i], &p.w[i], &p.openV[i], &p.openW[i])
	}
	return out
}

func TestInvalidProofInside(t *testing.T) {
	v := loadVectors(t, 4)
	proofs := v.list(4)
	proofs[2].C, proofs[2].A = proofs[2].A, proofs[2].C
	p, err := Aggregate(context.Background(), v.srs, proofs, Options{Version: V2, Include: v.include})
	if err != nil {
		t.Fatal(err)
	}
	if verify(t, v.statement(4, V2), p) {
		t.Error("aggregate with an invalid proof verifies")
	}
}

func TestAggregateRefuses(t *testing.T) {
	v := loadVectors(t, 4)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for name, c := range map[string]struct {
		ctx    context.Context
		proofs []groth16.Proof
		opts   Options
	}{
		"no proofs":     {context.Background(), nil, Options{Version: V2}},
		"SRS too short": {context.Background(), v.list(5), Options{Version: V2}},
		"no version":    {context.Background(), v.list(2), Options{}},
		"ended context": {ended, v.list(4), Options{Version: V2}},
	} {
		if p, err := Aggregate(c.ctx, v.srs, c.proofs, c.opts); err == nil || p != nil {
			t.Errorf("%s: no error", name)
		}
	}
	_, err := Verify(ended, v.statement(4, V2), v.aggregate(t, 4, V2))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("verify under an ended context: %v", err)
	}
}

func TestVerifyWithoutKeys(t *testing.T) {
	v := loadVectors(t, 2)
	p := v.aggregate(t, 2, V2)
	for name, f := range map[string]func(st *Statement){
		"no SRS key":    func(st *Statement) { st.Key = VerifierKey{} },
		"half a key":    func(st *Statement) { st.Key.HBeta.SetInfinity() },
		"no circuit":    func(st *Statement) { st.Circuit = nil },
		"empty circuit": func(st *Statement) { st.Circuit = new(groth16.VerifyingKey) },
	} {
		st := v.statement(2, V2)
		f(&st)
		if ok, err := Verify(context.Background(), st, p); ok || err == nil {
			t.Errorf("%s: %v, %v; want an error", name, ok, err)
		}
	}
	st := v.statement(2, V2)
	for _, p := range []*Proof{nil, {}} {
		if verify(t, st, p) {
			t.Error("empty aggregate verifies")
		}
	}
}

func TestNoRandomness(t *testing.T) {
	acc := newAccumulator(newPool(context.Background(), 1), failingReader{})
	acc.equation(nil, nil)
	if ok, err := acc.holds(); ok || err == nil {
		t.Errorf("decided without randomness: %v, %v", ok, err)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("none") }

func TestFoldPolynomials(t *testing.T) {
	c := []fr.Element{fr.NewElement(3), fr.NewElement(11), fr.NewElement(29)}
	s, z := fr.NewElement(17), fr.NewElement(1234567)
	f := foldCoefficients(c, s)
	value := func(f []fr.Element) fr.Element {
		var sum fr.Element
		for i := len(f) - 1; i >= 0; i-- {
			sum.Mul(&sum, &z).Add(&sum, &f[i])
		}
		return sum
	}
	y := foldValue(c, s, z)
	if got := value(f); len(f) != 8 || !got.Equal(&y) {
		t.Errorf("%d coefficients have value %s, product has %s", len(f), got.String(), y.String())
	}
	// f − y = q·(X − z): compare coefficients.
	q := quotient(f, z)
	got := make([]fr.Element, len(f))
	for i := range q {
		var low fr.Element
		low.Mul(&q[i], &z)
		got[i].Sub(&got[i], &low)
		got[i+1].Add(&got[i+1], &q[i])
	}
	got[0].Add(&got[0], &y)
	if !reflect.DeepEqual(got, f) {
		t.Error("quotient times divisor plus remainder is not the polynomial")
	}
}

// TestLargestBatch is the size of ProveCommitAggregate at its limit: 819 sectors
// with ten partitions each. It takes about a minute.
func TestLargestBatch(t *testing.T) {
	if os.Getenv("QUARRY_LONG") == "" {
		t.Skip("8,190 proofs take a minute; set QUARRY_LONG=1")
	}
	v := loadVectors(t, 8192)
	start := time.Now()
	b, err := v.aggregate(t, 8190, V2).MarshalBinary()
	if err != nil || len(b) != 40948 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	t.Logf("aggregated in %v", time.Since(start))
	start = time.Now()
	ok, err := VerifyBytes(context.Background(), v.statement(8190, V2), b)
	if err != nil || !ok {
		t.Fatalf("does not verify: %v, %v", ok, err)
	}
	t.Logf("verified in %v", time.Since(start))
	if ok, err := VerifyBytes(context.Background(), v.statement(8189, V2), b); err != nil || !ok {
		t.Fatalf("padding stands for one more proof: %v, %v", ok, err)
	}
	st := v.statement(8190, V2)
	st.Inputs[5000] = []fr.Element{fr.NewElement(36)}
	if ok, err := VerifyBytes(context.Background(), st, b); err != nil || ok {
		t.Fatalf("verifies with a wrong input: %v, %v", ok, err)
	}
}
