package circuit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"slices"
	"testing"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"

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
			s := x.make()
			if s.kind == KindPoRep || s.kind == KindUpdate {
				walksAlone(t)
			}
			circuits, inputs := s.fill(t)
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
					Proofs: []proof.PoStProof{{PoStProof: version + size}}, ChallengedSectors: []proof.SectorInfo{s.Info()}})),
					want.First, want.All)
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

// A real 32 GiB sector of the public network, with its two tree levels, fills one
// sector of a window circuit.
func TestMainnetSector(t *testing.T) {
	var v struct {
		Sector abi.SectorNumber `json:"sector_number"`
		CommR  string           `json:"comm_r"`
		Proof  []byte           `json:"FallbackPoStSectorProof_bincode_base64"`
	}
	loadJSON(t, "../post/testdata/post-32gib.json", &v)
	commR, err := hex.DecodeString(v.CommR)
	if err != nil {
		t.Fatal(err)
	}
	info := proof.WindowPoStVerifyInfo{Randomness: make([]byte, 32), Prover: miner,
		ChallengedSectors: []proof.SectorInfo{{SealProof: abi.RegisteredSealProof_StackedDrg32GiBV1_1, SectorNumber: v.Sector,
			SealedCID: must[cid.Cid](t)(commcid.ReplicaCommitmentV1ToCID(commR))}}}
	circuits := must[[]r1cs.Circuit](t)(Window(info, append([]byte{1, 0, 0, 0, 0, 0, 0, 0}, v.Proof...)))
	inputs := must[[][]r1cs.Element](t)(WindowInputs(info))
	if len(circuits) != 1 || len(inputs) != 1 || len(inputs[0]) != windowSectors32GiB*11 {
		t.Fatalf("%d circuits, %d sets of inputs", len(circuits), len(inputs))
	}
	c := circuits[0].(*postCircuit)
	if len(c.sectors) != windowSectors32GiB {
		t.Errorf("%d sectors", len(c.sectors))
	}
	c.sectors = c.sectors[:1]
	got, err := r1cs.Satisfied(context.Background(), c)
	if err != nil || !slices.Equal(got, inputs[0][:11]) || !slices.Equal(inputs[0][:11], inputs[0][len(inputs[0])-11:]) {
		t.Errorf("public inputs %v: %v", got, err)
	}
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
			if x.want.Constraints > 100_000 {
				walksAlone(t)
			}
			circuits, _ := x.s.fill(t)
			s, err := r1cs.Summarize(context.Background(), circuits[0])
			if err != nil {
				t.Fatal(err)
			}
			x.want.check(t, s)
		})
	}
}
