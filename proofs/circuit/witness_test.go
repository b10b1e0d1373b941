package circuit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/merkle"
	"quarry/proofs/porep"
	"quarry/proofs/poseidon"
	"quarry/proofs/r1cs"
)

const (
	seal2KiB      = abi.RegisteredSealProof_StackedDrg2KiBV1_1
	seal8MiB      = abi.RegisteredSealProof_StackedDrg8MiBV1_1
	sealNI2KiB    = abi.RegisteredSealProof(15)
	sealSynth2KiB = abi.RegisteredSealProof(10)
	window2KiB    = abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1
	windowOld2KiB = abi.RegisteredPoStProof_StackedDrgWindow2KiBV1
	window8MiB    = abi.RegisteredPoStProof_StackedDrgWindow8MiBV1_1
)

// fill makes the circuits of s and their public inputs.
func (s *statement) fill(t testing.TB) ([]r1cs.Circuit, [][]r1cs.Element) {
	t.Helper()
	return must[[]r1cs.Circuit](t)(s.circuits(s.blob)), must[[][]r1cs.Element](t)(s.inputs())
}

// Real vanilla proofs satisfy every constraint, and the public inputs are those
// that the verifier computes.
func TestSatisfied(t *testing.T) {
	for name, x := range map[string]struct {
		make func() *statement
		some []int // partitions checked, nil for all
		long bool
	}{
		"PoRep":            {make: func() *statement { return porepStatement(t, seal2KiB) }},
		"PoRep, version 1": {make: func() *statement { return porepStatement(t, 0) }, long: true},
		"PoRep, synthetic": {make: func() *statement { return porepStatement(t, sealSynth2KiB) }, long: true},
		"PoRep, NI":        {make: func() *statement { return porepStatement(t, sealNI2KiB) }, some: []int{12}},
		"PoRep 8MiB":       {make: func() *statement { return porepStatement(t, seal8MiB) }, long: true},
		"winning":          {make: func() *statement { return winningStatement(t, seal2KiB) }},
		"winning 8MiB":     {make: func() *statement { return winningStatement(t, seal8MiB) }, long: true},
		"window":           {make: func() *statement { return windowStatement(t, seal2KiB, window2KiB, 2) }},
		"window, padded":   {make: func() *statement { return windowStatement(t, seal2KiB, window2KiB, 3) }},
		"window 8MiB":      {make: func() *statement { return windowStatement(t, seal8MiB, window8MiB, 1) }, long: true},
		"update":           {make: func() *statement { return updateStatement(t, 0) }},
		"update 8MiB":      {make: func() *statement { return updateStatement(t, 1) }, some: []int{0, 3}, long: true},
	} {
		t.Run(name, func(t *testing.T) {
			if x.long && os.Getenv("QUARRY_LONG") == "" {
				t.Skip("set QUARRY_LONG=1 to fill this circuit")
			}
			circuits, inputs := x.make().fill(t)
			if len(circuits) != len(inputs) {
				t.Fatalf("%d circuits, inputs for %d", len(circuits), len(inputs))
			}
			for k, c := range circuits {
				if x.some != nil && !slices.Contains(x.some, k) {
					continue
				}
				got, err := r1cs.Satisfied(context.Background(), c)
				if err != nil {
					t.Errorf("partition %d: %v", k, err)
				}
				if !slices.Equal(got, inputs[k]) {
					t.Errorf("partition %d: public inputs differ from the computed ones", k)
				}
			}
		})
	}
}

// sectorVector is what the reference made of one sector.
type sectorVector struct {
	Name       string         `json:"name"`
	PoRep      *circuitVector `json:"porep_circuit_partition0"`
	PoRepAll   string         `json:"porep_public_inputs_all_sha256"`
	PoRepFirst []string       `json:"porep_public_inputs_partition0"`
	WindowOld  postVector     `json:"post_window_v1_0"`
	Window     postVector     `json:"post_window_v1_2"`
	Winning    postVector     `json:"post_winning"`
	Update     *struct {
		Circuit *circuitVector `json:"circuit_partition0"`
		First   []string       `json:"public_inputs_partition0"`
	} `json:"snap"`
}

type postVector struct {
	Circuit *circuitVector `json:"circuit"`
	Count   int            `json:"public_inputs_count"`
	First   []string       `json:"public_inputs_first_12"`
	All     string         `json:"public_inputs_sha256_of_hex_concat"`
}

func sectorVectors(t testing.TB) map[string]sectorVector {
	t.Helper()
	var v struct {
		Sectors []sectorVector `json:"sectors"`
	}
	loadJSON(t, "../porep/testdata/sectors.json", &v)
	out := map[string]sectorVector{}
	for _, s := range v.Sectors {
		out[s.Name] = s
	}
	return out
}

// checkInputs compares the first inputs, and the digest of the hex of all.
func checkInputs(t *testing.T, inputs [][]r1cs.Element, first []string, all string) {
	t.Helper()
	h, n := sha256.New(), 0
	for _, part := range inputs {
		for _, e := range part {
			node := poseidon.Encode(e)
			got := hex.EncodeToString(node[:])
			if n < len(first) && got != first[n] {
				t.Errorf("public input %d is %s, want %s", n, got, first[n])
			}
			h.Write([]byte(got))
			n++
		}
	}
	if n < len(first) {
		t.Errorf("%d public inputs", n)
	}
	if got := hex.EncodeToString(h.Sum(nil)); all != "" && got != all {
		t.Errorf("digest of %d public inputs is %s, want %s", n, got, all)
	}
}

// Public inputs of the reference's sectors.
func TestReferenceInputs(t *testing.T) {
	vectors, checked := sectorVectors(t), 0
	for name, p := range map[string]abi.RegisteredSealProof{"StackedDrg2KiBV1": 0, "StackedDrg2KiBV1_1": seal2KiB,
		"StackedDrg2KiBV1_1_Feat_SyntheticPoRep": sealSynth2KiB, "StackedDrg8MiBV1_1": seal8MiB} {
		t.Run(name, func(t *testing.T) {
			v, ok := vectors[name]
			if !ok {
				t.Fatal("no vector")
			}
			if p == seal8MiB && os.Getenv("QUARRY_LONG") == "" {
				t.Skip("set QUARRY_LONG=1 to seal 8 MiB")
			}
			s := sealed(t, p, 42)
			checkInputs(t, must[[][]r1cs.Element](t)(PoRepInputs(s.VerifyInfo())), v.PoRepFirst, v.PoRepAll)
			checkInputs(t, must[[][]r1cs.Element](t)(WinningInputs(proof.WinningPoStVerifyInfo{Randomness: draw,
				Prover: miner, ChallengedSectors: []proof.SectorInfo{s.Info()}})), v.Winning.First, v.Winning.All)
			size := abi.RegisteredPoStProof(p % 5)
			for version, want := range map[abi.RegisteredPoStProof]postVector{5: v.WindowOld, 10: v.Window} {
				checkInputs(t, must[[][]r1cs.Element](t)(WindowInputs(proof.WindowPoStVerifyInfo{Randomness: draw, Prover: miner,
					Proofs: []proof.PoStProof{{PoStProof: version + size}}, ChallengedSectors: []proof.SectorInfo{s.Info()}})), want.First, want.All)
			}
			checked++
		})
	}
	if checked == 0 {
		t.Fatal("nothing checked")
	}
	u := updateStatement(t, 0)
	checkInputs(t, must[[][]r1cs.Element](t)(u.inputs()), vectors["StackedDrg2KiBV1_1"].Update.First, "")
}

// Every single value of the circuits of a 2 KiB sector is the reference's.
func TestReferenceWitness(t *testing.T) {
	v := sectorVectors(t)["StackedDrg2KiBV1_1"]
	for name, x := range map[string]struct {
		s    *statement
		want *circuitVector
	}{
		"PoRep":   {porepStatement(t, seal2KiB), v.PoRep},
		"winning": {winningStatement(t, seal2KiB), v.Winning.Circuit},
		"window":  {windowStatement(t, seal2KiB, window2KiB, 1), v.Window.Circuit},
		"update":  {updateStatement(t, 0), v.Update.Circuit},
	} {
		t.Run(name, func(t *testing.T) {
			circuits, _ := x.s.fill(t)
			s, err := r1cs.Summarize(context.Background(), circuits[0])
			if err != nil {
				t.Fatal(err)
			}
			x.want.check(t, s)
		})
	}
}

// statements are the cheapest of each kind.
func statements(t testing.TB) []*statement {
	return []*statement{porepStatement(t, seal2KiB), winningStatement(t, seal2KiB),
		windowStatement(t, seal2KiB, window2KiB, 3), updateStatement(t, 0)}
}

// No circuit is filled from a vanilla proof with a flipped bit.
func TestFlippedBitsAreRefused(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range statements(t) {
		for range 40 {
			at, bit := r.IntN(len(s.blob)), r.IntN(8)
			blob := slices.Clone(s.blob)
			blob[at] ^= 1 << bit
			circuits, err := s.circuits(blob)
			for _, c := range circuits {
				if err = c.Synthesize(context.Background(), new(counter)); err != nil {
					break
				}
			}
			if err == nil {
				t.Errorf("%s: byte %d, bit %d: accepted", s.kind, at, bit)
			}
		}
	}
}

// A proof about something else is refused with ErrVanilla by every circuit, and
// lack of time is not taken for it.
func TestVanillaIsVerified(t *testing.T) {
	s := windowStatement(t, seal2KiB, window2KiB, 3)
	blob := slices.Clone(s.blob)
	blob[len(blob)-1] ^= 1 // CommRLast of the last sector
	circuits := must[[]r1cs.Circuit](t)(s.circuits(blob))
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := circuits[0].Synthesize(ended, new(counter)); !errors.Is(err, context.Canceled) {
		t.Errorf("without time: %v", err)
	}
	for range 2 {
		for k, c := range circuits {
			if err := c.Synthesize(context.Background(), new(counter)); !errors.Is(err, ErrVanilla) {
				t.Errorf("partition %d: %v", k, err)
			}
		}
	}
}

// counter counts and remembers public inputs.
type counter struct {
	inputs           []r1cs.Element
	aux, constraints int
}

func (c *counter) Input(v r1cs.Element) r1cs.Variable {
	c.inputs = append(c.inputs, v)
	return r1cs.Input(len(c.inputs))
}
func (c *counter) Aux(r1cs.Element) r1cs.Variable { c.aux++; return r1cs.Aux(c.aux - 1) }
func (c *counter) Enforce(_, _, _ r1cs.LC)        { c.constraints++ }

// lie changes one thing in a circuit that is not checked beforehand. The
// circuit must notice: a constraint fails, or a public input is not the one that
// the verifier computes.
func lie(t *testing.T, what string, c r1cs.Circuit, want []r1cs.Element) {
	t.Helper()
	got, err := r1cs.Satisfied(context.Background(), c)
	var u *r1cs.Unsatisfied
	if err != nil && !errors.As(err, &u) {
		t.Errorf("%s: %v", what, err)
	}
	if err == nil && slices.Equal(got, want) {
		t.Errorf("%s: the circuit does not notice", what)
	}
}

func flip(n *merkle.Node) { n[0] ^= 1 }

func TestPoStCircuitNotices(t *testing.T) {
	s := windowStatement(t, seal2KiB, window2KiB, 2)
	for what, change := range map[string]func(x *postSector){
		"leaf":       func(x *postSector) { flip(&x.openings[3].Leaf) },
		"sibling":    func(x *postSector) { flip(&x.openings[9].Base[1].Hashes[6]) },
		"position":   func(x *postSector) { x.openings[0].Base[0].Index ^= 4 },
		"CommRLast":  func(x *postSector) { flip(&x.commRLast) },
		"CommC":      func(x *postSector) { flip(&x.commC) },
		"CommR":      func(x *postSector) { flip(&x.commR) },
		"other path": func(x *postSector) { x.openings[0] = x.openings[1] },
	} {
		circuits, inputs := s.fill(t)
		c := circuits[0].(*postCircuit)
		c.vanilla = nil
		change(&c.sectors[1])
		lie(t, what, c, inputs[0])
	}
}

func TestPoRepCircuitNotices(t *testing.T) {
	s := porepStatement(t, seal2KiB)
	for what, change := range map[string]func(c *porepCircuit, x *porep.Challenge){
		"data":             func(_ *porepCircuit, x *porep.Challenge) { flip(&x.D.Leaf) },
		"data sibling":     func(_ *porepCircuit, x *porep.Challenge) { flip(&x.D.Base[5].Hashes[0]) },
		"replica position": func(_ *porepCircuit, x *porep.Challenge) { x.R.Base[1].Index ^= 1 },
		"label":            func(_ *porepCircuit, x *porep.Challenge) { flip(&x.Base[5].Column.Rows[1]) },
		"other parent":     func(_ *porepCircuit, x *porep.Challenge) { x.Exp[0] = x.Base[0] },
		"node":             func(c *porepCircuit, _ *porep.Challenge) { c.nodes[0] ^= 1 },
		"replica id":       func(c *porepCircuit, _ *porep.Challenge) { flip(&c.replicaID) },
	} {
		circuits, inputs := s.fill(t)
		c := circuits[0].(*porepCircuit)
		c.vanilla, c.challenges = nil, c.challenges[:1]
		change(c, &c.challenges[0])
		lie(t, what, c, inputs[0][:3+18])
	}
	circuits, inputs := s.fill(t)
	c := circuits[0].(*porepCircuit)
	c.challenges = c.challenges[:1]
	if got, err := r1cs.Satisfied(context.Background(), c); err != nil || !slices.Equal(got, inputs[0][:3+18]) {
		t.Errorf("one challenge without a lie: %v", err)
	}
}

func TestUpdateCircuitNotices(t *testing.T) {
	s := updateStatement(t, 0)
	for what, change := range map[string]func(c *updateCircuit){
		"old leaf":       func(c *updateCircuit) { flip(&c.part.Openings[0].Old.Leaf) },
		"data leaf":      func(c *updateCircuit) { flip(&c.part.Openings[0].Data.Leaf) },
		"new leaf":       func(c *updateCircuit) { flip(&c.part.Openings[0].New.Leaf) },
		"old sibling":    func(c *updateCircuit) { flip(&c.part.Openings[0].Old.Base[0].Hashes[0]) },
		"new sibling":    func(c *updateCircuit) { flip(&c.part.Openings[0].New.Base[1].Hashes[6]) },
		"apex leaf":      func(c *updateCircuit) { flip(&c.part.Apex[7]) },
		"CommC":          func(c *updateCircuit) { flip(&c.part.CommC) },
		"old root":       func(c *updateCircuit) { flip(&c.part.Openings[0].Old.Root) },
		"other opening":  func(c *updateCircuit) { c.part.Openings[0] = c.part.Openings[1] },
		"new commitment": func(c *updateCircuit) { flip(&c.commRNew) },
	} {
		circuits, inputs := s.fill(t)
		c := circuits[0].(*updateCircuit)
		c.vanilla, c.Challenges = nil, 1
		change(c)
		lie(t, what, c, inputs[0])
	}
}

// Arbitrary changes to vanilla proofs never panic, never change the shape of a
// circuit, and are noticed before anything is proven.
func FuzzVanilla(f *testing.F) {
	all := statements(f)
	for k := range all {
		f.Add(uint8(k), uint32(0), []byte{1, 0, 0, 0, 0, 0, 0, 0})  //nolint:gosec // four kinds
		f.Add(uint8(k), uint32(1000), []byte{0xff, 0xff, 0xff})     //nolint:gosec // four kinds
		f.Add(uint8(k), uint32(1<<30), []byte("longer or shorter")) //nolint:gosec // four kinds
	}
	var shapes [4][]string
	for k, s := range all {
		circuits, _ := s.fill(f)
		for _, c := range circuits {
			shapes[k] = append(shapes[k], shapeOf(f, c))
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, at uint32, with []byte) {
		s := all[kind%4]
		blob := slices.Clone(s.blob)
		if int(at) < len(blob) {
			copy(blob[at:], with)
		} else {
			blob = append(blob[:int(at)%len(blob)], with...)
		}
		circuits, err := s.circuits(blob)
		if err != nil {
			return
		}
		for k, c := range circuits {
			err := c.Synthesize(context.Background(), new(counter))
			if same := slices.Equal(blob, s.blob); same != (err == nil) {
				t.Fatalf("%s: unchanged is %v and the result %v", s.kind, same, err)
			}
			if p, ok := c.(*postCircuit); ok { // the others take too long
				p.vanilla = nil
				if got := shapeOf(t, c); got != shapes[kind%4][k] {
					t.Fatalf("%s: shape %s, not %s", s.kind, got, shapes[kind%4][k])
				}
			}
		}
	})
}

// shapeOf is the counts of c, whose nodes may be no field elements.
func shapeOf(t testing.TB, c r1cs.Circuit) string {
	t.Helper()
	n := new(counter)
	if err := c.Synthesize(context.Background(), n); err != nil && errors.Is(err, ErrVanilla) {
		t.Fatal(err)
	}
	return fmt.Sprint(len(n.inputs), n.aux, n.constraints)
}

func benchmark(b *testing.B, s *statement) {
	b.Helper()
	circuits, _ := s.fill(b)
	n := new(counter)
	b.ReportAllocs()
	for b.Loop() {
		*n = counter{}
		if err := circuits[0].Synthesize(context.Background(), n); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n.constraints), "ns/constraint")
}

func BenchmarkPoRep2KiB(b *testing.B)   { benchmark(b, porepStatement(b, seal2KiB)) }
func BenchmarkWinning2KiB(b *testing.B) { benchmark(b, winningStatement(b, seal2KiB)) }
func BenchmarkUpdate2KiB(b *testing.B)  { benchmark(b, updateStatement(b, 0)) }
