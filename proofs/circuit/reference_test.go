package circuit

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

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

// Every circuit of every sector size is the reference's, constraint by
// constraint.
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
			c, err := blanks[v.Circuit](slices.Index(sizes, v.Size))
			if err != nil {
				t.Fatal(err)
			}
			s, err := r1cs.Summarize(context.Background(), c)
			if err != nil {
				t.Fatal(err)
			}
			v.R.check(t, s)
		})
	}
}

// The smallest circuits agree step by step: a mismatch is named.
func TestCheckpoints(t *testing.T) {
	var ref reference
	loadJSON(t, "testdata/r1cs.json", &ref)
	for name, steps := range map[string][]checkpoint{"porep": ref.PoRep, "snap": ref.Update, "window": ref.Window, "winning": ref.Winning} {
		t.Run(name, func(t *testing.T) {
			if len(steps) == 0 {
				t.Fatal("no checkpoints")
			}
			var stops []int
			for _, s := range steps {
				stops = append(stops, s.constraints)
			}
			c, err := blanks[name](0)
			if err != nil {
				t.Fatal(err)
			}
			got, err := r1cs.Summarize(context.Background(), c, stops...)
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range steps {
				if i >= len(got.Checkpoints) || hex.EncodeToString(got.Checkpoints[i].Sum[:8]) != s.sum {
					t.Fatalf("differs at or before %q, constraint %d", s.name, s.constraints)
				}
			}
		})
	}
}
