package snarkpack

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"quarry/proofs/groth16"
)

// vectors are what bellperson 0.27 made of a small circuit.
type vectors struct {
	srs     *SRS
	key     VerifierKey
	circuit *groth16.VerifyingKey
	input   []fr.Element
	proofs  [2]groth16.Proof
	include []byte
	golden  []golden
}

type golden struct {
	n       int
	version Version
	proof   []byte
}

func loadVectors(t testing.TB, maxProofs int) vectors {
	t.Helper()
	raw, err := os.ReadFile("testdata/snarkpack.json")
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Mini struct {
			VK     string   `json:"vk_hex"`
			Proof  string   `json:"proof_hex"`
			Proof2 string   `json:"proof2_r1234_s4321_hex"`
			Inputs []uint64 `json:"public_inputs"`
		}
		Snarkpack struct {
			Alpha      string `json:"srs_alpha"`
			Beta       string `json:"srs_beta"`
			Include    string `json:"transcript_include_hex"`
			Aggregates []struct {
				N       int
				Version string
				Proof   string `json:"proof_hex"`
			}
		}
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		t.Fatal(err)
	}
	var v vectors
	v.srs, err = NewSRS(context.Background(), scalarLE(t, f.Snarkpack.Alpha), scalarLE(t, f.Snarkpack.Beta), maxProofs)
	if err != nil {
		t.Fatal(err)
	}
	if v.key, err = v.srs.VerifierKey(); err != nil {
		t.Fatal(err)
	}
	if v.circuit, err = groth16.ReadVerifyingKey(bytes.NewReader(unhex(t, f.Mini.VK))); err != nil {
		t.Fatal(err)
	}
	for i, s := range []string{f.Mini.Proof, f.Mini.Proof2} {
		if v.proofs[i], err = groth16.ParseProof(unhex(t, s)); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range f.Mini.Inputs {
		v.input = append(v.input, fr.NewElement(x))
	}
	v.include = unhex(t, f.Snarkpack.Include)
	for _, a := range f.Snarkpack.Aggregates {
		version := map[string]Version{"V1": V1, "V2": V2}[a.Version]
		v.golden = append(v.golden, golden{a.N, version, unhex(t, a.Proof)})
	}
	return v
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func scalarLE(t testing.TB, s string) fr.Element {
	t.Helper()
	x, err := fr.LittleEndian.Element((*[32]byte)(unhex(t, s)))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// list repeats the two proofs in turn.
func (v *vectors) list(n int) []groth16.Proof {
	out := make([]groth16.Proof, n)
	for i := range out {
		out[i] = v.proofs[i%2]
	}
	return out
}

// statement is that n proofs of the small circuit exist.
func (v *vectors) statement(n int, version Version) Statement {
	st := Statement{Key: v.key, Circuit: v.circuit, Version: version, Include: v.include}
	for range n {
		st.Inputs = append(st.Inputs, v.input)
	}
	return st
}

func (v *vectors) aggregate(t testing.TB, n int, version Version) *Proof {
	t.Helper()
	p, err := Aggregate(context.Background(), v.srs, v.list(n), Options{Version: version, Include: v.include})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestNetworkAggregates takes seal proofs made with the network's parameters. The
// parameters are too large for a test, so what needs them is left out: the
// openings and the Groth16 equation. All challenges and folds are checked.
func TestNetworkAggregates(t *testing.T) {
	raw, err := os.ReadFile("testdata/network.json")
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Records []struct {
			Size       uint64 `json:"sector_size"`
			Partitions int
			CommR      string `json:"comm_r"`
			Proof      []byte `json:"proof_base64"`
		}
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Records) != 3 {
		t.Fatalf("%d records, want 3", len(f.Records))
	}
	for _, rec := range f.Records {
		p, err := ParseProof(rec.Proof)
		if err != nil {
			t.Fatal(err)
		}
		if p.Count() != PaddedCount(rec.Partitions) {
			t.Errorf("%d bytes: aggregate of %d for %d partitions", rec.Size, p.Count(), rec.Partitions)
		}
		again, err := p.MarshalBinary()
		if err != nil || !bytes.Equal(again, rec.Proof) {
			t.Errorf("%d bytes: encoding changed (%v)", rec.Size, err)
		}
		include := sha256.Sum256(unhex(t, rec.CommR))
		if !foldsHold(t, p, V2, include[:]) {
			t.Errorf("%d bytes: folds do not hold", rec.Size)
		}
		include[0] ^= 1
		if foldsHold(t, p, V2, include[:]) {
			t.Errorf("%d bytes: folds hold with other include bytes", rec.Size)
		}
	}
}

// foldsHold checks all of an aggregate that needs neither SRS nor circuit.
func foldsHold(t *testing.T, p *Proof, v Version, include []byte) bool {
	t.Helper()
	hcom := p.commitmentChallenge()
	ch := startChallenges(v, hcom, combinationChallenge(hcom, include), p)
	for i := range p.round {
		ch.next(&p.round[i])
	}
	sums, err := p.sumFolds(ch)
	if err != nil {
		t.Fatal(err)
	}
	acc := newAccumulator(newPool(context.Background(), 2), rand.Reader)
	p.checkCommitments(acc, ch)
	pairings, err := acc.holds()
	if err != nil {
		t.Fatal(err)
	}
	if sums != pairings {
		t.Errorf("sum of C folds: %v, commitments fold: %v", sums, pairings)
	}
	return sums && pairings
}

func TestGoldenAggregates(t *testing.T) {
	v := loadVectors(t, 4)
	if len(v.golden) != 4 {
		t.Fatalf("%d golden aggregates, want 4", len(v.golden))
	}
	for _, g := range v.golden {
		p := v.aggregate(t, g.n, g.version)
		b, err := p.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if len(b) != ProofLength(g.n) || !bytes.Equal(b, g.proof) {
			t.Errorf("n=%d V%d: aggregate differs", g.n, g.version)
			for i := range b {
				if i >= len(g.proof) || b[i] != g.proof[i] {
					t.Errorf("first difference at byte %d", i)
					break
				}
			}
		}
		ok, err := VerifyBytes(context.Background(), v.statement(g.n, g.version), g.proof)
		if err != nil || !ok {
			t.Errorf("n=%d V%d: golden aggregate does not verify: %v, %v", g.n, g.version, ok, err)
		}
	}
}
