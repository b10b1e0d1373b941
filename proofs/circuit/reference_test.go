package circuit

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/bits"
	"os"
	"slices"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/merkle"
	"quarry/proofs/r1cs"
)

// reference is what rust-fil-proofs' circuits look like.
type reference struct {
	Circuits []struct {
		Circuit string        `json:"circuit"`
		Size    uint64        `json:"sector_size"`
		R       circuitVector `json:"r"`
	} `json:"circuits"`
	PoRep   []checkpoint `json:"checkpoints_porep_2kib"`
	Update  []checkpoint `json:"checkpoints_snap_2kib_k0"`
	Window  []checkpoint `json:"checkpoints_window_2kib_first"`
	Winning []checkpoint `json:"checkpoints_winning_2kib_first"`
}

type circuitVector struct {
	Aux         int    `json:"aux"`
	Constraints int    `json:"constraints"`
	Inputs      int    `json:"inputs_incl_one"`
	Terms       [3]int `json:"terms_abc"`
	R1CS        string `json:"r1cs_sha256"`
	AuxValues   string `json:"aux_assignment_sha256"`
	InputValues string `json:"input_assignment_sha256"`
}

// checkpoint is the state after a named step.
type checkpoint struct {
	name                     string
	inputs, aux, constraints int
	sum                      string // first 8 bytes
}

func (c *checkpoint) UnmarshalJSON(raw []byte) error {
	return json.Unmarshal(raw, &[]any{&c.name, &c.inputs, &c.aux, &c.constraints, &c.sum})
}

func loadJSON(t testing.TB, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}

// blanks makes the blank circuits of each kind, by their name in the vectors.
// The index is the sector size's.
var blanks = map[string]func(size int) (r1cs.Circuit, error){
	"porep":   func(i int) (r1cs.Circuit, error) { return BlankPoRep(abi.RegisteredSealProof(5 + i)) },
	"winning": func(i int) (r1cs.Circuit, error) { return BlankWinning(abi.RegisteredPoStProof(i)) },
	"window":  func(i int) (r1cs.Circuit, error) { return BlankWindow(abi.RegisteredPoStProof(10 + i)) },
	"snap":    func(i int) (r1cs.Circuit, error) { return BlankUpdate(abi.RegisteredUpdateProof(i)) },
}

var sizes = []uint64{2 << 10, 8 << 20, 512 << 20, 32 << 30, 64 << 30}

func (v *circuitVector) check(t *testing.T, s r1cs.Summary) {
	t.Helper()
	if s.Inputs != v.Inputs || s.Aux != v.Aux || s.Constraints != v.Constraints || s.Terms != v.Terms {
		t.Errorf("%+v, want %+v", s.Counts, v)
	}
	if got := hex.EncodeToString(s.R1CS[:]); got != v.R1CS {
		t.Errorf("constraints %s, want %s", got, v.R1CS)
	}
	if v.InputValues != "" && v.InputValues != hex.EncodeToString(s.InputValues[:]) {
		t.Errorf("input values %x, want %s", s.InputValues, v.InputValues)
	}
	if v.AuxValues != "" && v.AuxValues != hex.EncodeToString(s.AuxValues[:]) {
		t.Errorf("aux values %x, want %s", s.AuxValues, v.AuxValues)
	}
}

// maxConstraints is the largest circuit digested without QUARRY_LONG.
const maxConstraints = 4_500_000

// steps are the checkpoints of the smallest circuit of a kind.
func (r *reference) steps(kind string) []checkpoint {
	return map[string][]checkpoint{"porep": r.PoRep, "snap": r.Update, "window": r.Window, "winning": r.Winning}[kind]
}

// Every circuit of every sector size is the reference's, constraint by
// constraint. Of the smallest a mismatch is named.
func TestReferenceCircuits(t *testing.T) {
	var ref reference
	loadJSON(t, "testdata/r1cs.json", &ref)
	if len(ref.Circuits) != len(blanks)*len(sizes) {
		t.Fatalf("%d circuits in the vectors", len(ref.Circuits))
	}
	for _, v := range ref.Circuits {
		t.Run(fmt.Sprintf("%s/%d", v.Circuit, v.Size), func(t *testing.T) {
			if v.R.Constraints > maxConstraints && os.Getenv("QUARRY_LONG") == "" {
				t.Skipf("%d constraints: set QUARRY_LONG=1 to digest them", v.R.Constraints)
			}
			if v.R.Constraints > 100_000 {
				walksAlone(t)
			}
			c, err := blanks[v.Circuit](slices.Index(sizes, v.Size))
			if err != nil {
				t.Fatal(err)
			}
			var steps []checkpoint
			if v.Size == sizes[0] {
				if steps = ref.steps(v.Circuit); len(steps) == 0 {
					t.Fatal("no checkpoints")
				}
			}
			var stops []int
			for _, s := range steps {
				stops = append(stops, s.constraints)
			}
			s, err := r1cs.Summarize(context.Background(), c, stops...)
			if err != nil {
				t.Fatal(err)
			}
			v.R.check(t, s)
			for i, step := range steps {
				if i >= len(s.Checkpoints) || hex.EncodeToString(s.Checkpoints[i].Sum[:8]) != step.sum {
					t.Fatalf("differs at or before %q, constraint %d", step.name, step.constraints)
				}
			}
		})
	}
}

// Sizes follow from those of the parts, so that a circuit of another size can be
// reckoned without building it.
func TestClosedForms(t *testing.T) {
	var ref reference
	loadJSON(t, "testdata/r1cs.json", &ref)
	forms := map[string]func(nodes uint64) int{"porep": porepSize, "winning": winningSize, "window": windowSize, "snap": updateSize}
	for _, v := range ref.Circuits {
		if got := forms[v.Circuit](v.Size / merkle.NodeSize); got != v.R.Constraints {
			t.Errorf("%s of %d bytes: %d constraints, want %d", v.Circuit, v.Size, got, v.R.Constraints)
		}
	}
}

// Constraints of the parts.
const (
	sizePair   = 311 // Poseidon of two
	sizeNode8  = 505 // Poseidon of eight
	sizeColumn = 598 // Poseidon of eleven
	sizeData   = 45_379
	sizeLabel  = 522_269
)

// climbSize is a path in a Poseidon tree up to its root, with all positions
// allocated beforehand.
func climbSize(s merkle.Shape) int {
	n := 1
	for _, arity := range append(slices.Repeat([]int{8}, s.BaseRows()-1), s.Sub, s.Top) {
		switch arity {
		case 8:
			n += 22 + sizeNode8
		case 2:
			n += 2 + sizePair
		}
	}
	return n
}

// pathSize is climbSize with positions and the public input.
func pathSize(s merkle.Shape) int { return climbSize(s) + bits.Len64(s.Nodes) - 1 + 1 }

func shapeFor(nodes uint64) merkle.Shape {
	s, err := merkle.ShapeOf(nodes)
	if err != nil {
		panic(err)
	}
	return s
}

func porepSize(nodes uint64) int {
	s := shapeFor(nodes)
	path := pathSize(s)
	layers, challenges, column := 2, 2, sizePair
	if nodes >= 1<<30 {
		layers, challenges, column = 11, 18, sizeColumn
	}
	one := (bits.Len64(nodes)-1)*(1+2+sizeData) + 2 + 14*(column+path) + 65 +
		256*(6+14*(layers-1)) + layers*sizeLabel + 1 + path + column + path
	return 571 + challenges*one
}

func winningSize(nodes uint64) int { return 66 * (313 + pathSize(shapeFor(nodes))) }

func windowSize(nodes uint64) int {
	s := shapeFor(nodes)
	return windowShape(s).sectors * (313 + 10*pathSize(s))
}

func updateSize(nodes uint64) int {
	log := bits.Len64(nodes) - 1
	pb, apexBits, challenges := 4, 7, 86
	switch {
	case log <= 8:
		pb, apexBits, challenges = 0, 3, 10
	case log <= 19:
		pb, challenges = 2, 10
	}
	width, row := log-pb, log-pb-apexBits
	perDraw := 254 / width
	draws := (challenges + perDraw - 1) / perDraw
	apex := 1<<apexBits - 1
	one := 326 + 2*climbSize(shapeFor(nodes)) + apex + row*(2+sizeData) + 1
	return 1 + (pb + 6) + 1 + 1 + 3 + sizePair + 2*(sizePair+1) + apex*sizeData + pb*(2+sizeData) + 1 + draws*568 + challenges*one
}
