package circuit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"

	"quarry/proofs/merkle"
	"quarry/proofs/porep"
	"quarry/proofs/r1cs"
)

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

// Circuits of one statement may be walked through at the same time.
func TestWalksAtTheSameTime(t *testing.T) {
	s := windowStatement(t, seal2KiB, window2KiB, 3)
	circuits, inputs := s.fill(t)
	g := new(errgroup.Group)
	for i := range 3 * len(circuits) {
		k := i % len(circuits)
		g.Go(func() error {
			got, err := r1cs.Satisfied(context.Background(), circuits[k])
			if err == nil && !slices.Equal(got, inputs[k]) {
				err = fmt.Errorf("other public inputs of partition %d", k)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
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
	walksAlone(t)
	s := porepStatement(t, seal2KiB)
	for what, change := range map[string]func(c *porepCircuit, x *porep.Challenge){
		"data":             func(_ *porepCircuit, x *porep.Challenge) { flip(&x.D.Leaf) },
		"data sibling":     func(_ *porepCircuit, x *porep.Challenge) { flip(&x.D.Base[5].Hashes[0]) },
		"replica position": func(_ *porepCircuit, x *porep.Challenge) { x.R.Base[1].Index ^= 1 },
		"label":            func(_ *porepCircuit, x *porep.Challenge) { flip(&x.Base[5].Column.Rows[1]) },
		"other parent":     func(_ *porepCircuit, x *porep.Challenge) { x.Exp[0] = x.Base[0] },
		"node":             func(c *porepCircuit, _ *porep.Challenge) { c.nodes[0] ^= 1 },
		"replica id":       func(c *porepCircuit, _ *porep.Challenge) { flip(&c.replicaID) },
		"CommD":            func(c *porepCircuit, _ *porep.Challenge) { flip(&c.commD) },
		"CommC":            func(c *porepCircuit, _ *porep.Challenge) { flip(&c.commC) },
		"CommR":            func(c *porepCircuit, _ *porep.Challenge) { flip(&c.commR) },
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
	walksAlone(t)
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
		"old commitment": func(c *updateCircuit) { flip(&c.commROld) },
		"new data":       func(c *updateCircuit) { flip(&c.commDNew) },
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
		f.Add(uint8(k), uint32(0), []byte{1, 0, 0, 0, 0, 0, 0, 0})
		f.Add(uint8(k), uint32(1000), []byte{0xff, 0xff, 0xff})
		f.Add(uint8(k), uint32(1<<30), []byte("longer or shorter"))
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
