package circuit

import (
	"math/bits"
	"slices"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/update"
)

// Parameter names are those that are published.
func TestNames(t *testing.T) {
	var v struct {
		Files []struct {
			File    string `json:"file"`
			Size    uint64 `json:"sector_size"`
			Circuit string `json:"circuit"`
		} `json:"files"`
	}
	loadJSON(t, "testdata/params.json", &v)
	names := map[string]func(size int) (string, error){
		"porep":   func(i int) (string, error) { return PoRepName(abi.RegisteredSealProof(5 + i)) },
		"winning": func(i int) (string, error) { return WinningName(abi.RegisteredPoStProof(i)) },
		"window":  func(i int) (string, error) { return WindowName(abi.RegisteredPoStProof(10 + i)) },
		"snap":    func(i int) (string, error) { return UpdateName(abi.RegisteredUpdateProof(i)) },
	}
	checked := 0
	for _, f := range v.Files {
		make, ok := names[f.Circuit]
		if !ok {
			continue // a variant that no registered proof uses
		}
		base, _ := strings.CutSuffix(f.File, ".params")
		base, _ = strings.CutSuffix(base, ".vk")
		got, err := make(slices.Index(sizes, f.Size))
		if err != nil || got != base {
			t.Errorf("%s of %d bytes: %q, %v, want %q", f.Circuit, f.Size, got, err, base)
		}
		checked++
	}
	if checked != 2*len(names)*len(sizes) {
		t.Errorf("%d names checked", checked)
	}
}

// Families of proofs that differ only in challenges share a circuit.
func TestSharedNames(t *testing.T) {
	for size := range 5 {
		want, err := PoRepName(abi.RegisteredSealProof(size))
		if err != nil {
			t.Fatal(err)
		}
		for family := 5; family < 20; family += 5 {
			if got, err := PoRepName(abi.RegisteredSealProof(family + size)); err != nil || got != want {
				t.Errorf("seal proof %d: %q, %v", family+size, got, err)
			}
		}
		a, errA := WindowName(abi.RegisteredPoStProof(5 + size))
		b, errB := WindowName(abi.RegisteredPoStProof(10 + size))
		if errA != nil || errB != nil || a != b {
			t.Errorf("window proofs of size %d: %q, %v; %q, %v", size, a, errA, b, errB)
		}
	}
}

// What an update proof says of partition and h is read back as it was meant: the
// lowest bits are the partition, and the one bit above them is the choice of the
// h that vanilla proofs are made with.
func TestPartitionAndH(t *testing.T) {
	for p := range 5 {
		d, err := update.DimensionsOf(abi.RegisteredUpdateProof(p))
		if err != nil {
			t.Fatal(err)
		}
		for k := range d.Partitions {
			v := partitionAndH(&d, k)
			choice := bits.TrailingZeros64(v >> log2(d.Partitions))
			if v&uint64(d.Partitions-1) != uint64(k) || v>>log2(d.Partitions) != 1<<choice || hChoices(d.Log2)[choice] != d.H {
				t.Errorf("update proof %d, partition %d: %b", p, k, v)
			}
		}
	}
}

// Proof types of another kind, or unknown, are an error.
func TestUnknownTypes(t *testing.T) {
	for what, err := range map[string]error{
		"winning of a window type": second(WinningName(10)),
		"window of a winning type": second(WindowName(4)),
		"unknown PoSt":             second(WindowName(15)),
		"negative PoSt":            second(WinningName(-1)),
		"unknown seal proof":       second(PoRepName(20)),
		"unknown update proof":     second(UpdateName(5)),
		"blank seal":               second(BlankPoRep(-1)),
		"blank winning":            second(BlankWinning(5)),
		"blank window":             second(BlankWindow(0)),
		"blank update":             second(BlankUpdate(-1)),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

func second[T any](_ T, err error) error { return err }
