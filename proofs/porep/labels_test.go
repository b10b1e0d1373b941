package porep

import (
	"bytes"
	"context"
	"os"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/sdr"
)

// All vector sectors once more, with the least memory, as a batch that shares
// the graph, and with parents from a file.
func TestLabelOptions(t *testing.T) {
	for _, v := range sectorVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			if v.Size > 1<<20 && os.Getenv("QUARRY_LONG") == "" {
				t.Skip("ten seconds, with -race minutes; run with QUARRY_LONG=1")
			}
			v.checkLabelOptions(t)
		})
	}
}

func (v *sectorVector) checkLabelOptions(t *testing.T) {
	t.Helper()
	par := v.params(t)
	g, err := par.graph()
	if err != nil {
		t.Fatal(err)
	}
	file, journal := &memFile{make([]byte, g.ParentFileSize())}, &memFile{make([]byte, 4096)}
	if _, err := sdr.BuildParentFile(context.Background(), g, file, journal, nil); err != nil {
		t.Fatal(err)
	}
	parents, err := sdr.OpenParentFile(context.Background(), g, file, int64(len(file.b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []LabelOptions{{}, {Memory: LeastPreCommit1Memory(3)}, {Parents: parents}} {
		var caches []*memFiles
		ts, wants := tasks(t, par, 3, func(int) Files { caches = append(caches, newMemFiles()); return caches[len(caches)-1] })
		for i := range ts {
			ts[i].Sector, ts[i].Ticket = v.sector(), bytes.Clone(unhex(t, v.Ticket))
			wants[i] = node(t, v.CommD)
		}
		ts[0].Sector.Number += 5
		if _, err := par.preCommit1Batch(context.Background(), ts, wants, o, nil); err != nil {
			t.Fatal(err)
		}
		for _, c := range caches[1:] {
			c.check(t, v.After1)
		}
		if bytes.Equal(caches[0].m[layerName(1)].b, caches[1].m[layerName(1)].b) {
			t.Error("two sectors have the same labels")
		}
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b := node(t, s)
	return b[:]
}

func TestLabelRefusals(t *testing.T) {
	ctx, data := context.Background(), bytes.NewReader(vectorData(2048))
	s := Sector{Proof: test2KiB, Miner: 1000, Number: 1}
	task := PreCommit1Task{Sector: s, Ticket: make([]byte, 32), Unsealed: data, Cache: newMemFiles()}
	other := task
	other.Sector.Proof++
	for name, ts := range map[string][]PreCommit1Task{"empty": nil, "of two proofs": {task, other},
		"too large": make([]PreCommit1Task, sdr.MaxBatch+1)} {
		if _, err := PreCommit1Batch(ctx, ts, LabelOptions{}, nil); err == nil {
			t.Errorf("a batch that is %s was accepted", name)
		}
	}
	if _, err := PreCommit1Memory(99, 1); err == nil {
		t.Error("memory of an unknown proof")
	}
	for proof, least := range map[abi.RegisteredSealProof]uint64{7: 1 << 30, 8: 64 << 30, 9: 128 << 30} {
		got, err := PreCommit1Memory(proof, 1)
		if err != nil || got < least || got > least+least/8+1<<30 {
			t.Errorf("seal proof %d: %d bytes, %v", proof, got, err)
		}
	}
}
