package porep

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// Unsealing that is killed again and again gives the same bytes, and leaves
// nothing in its directory.
func TestUnsealResumes(t *testing.T) {
	par := manyLayers(t)
	cache := newMemFiles()
	ts, wants := tasks(t, par, 1, func(int) Files { return cache })
	outs, err := par.preCommit1Batch(context.Background(), ts, wants, LabelOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	sealed := &memFile{make([]byte, par.size())}
	if _, err := par.preCommit2(context.Background(), &PreCommit2Task{PC1: outs[0], Unsealed: ts[0].Unsealed, Sealed: sealed,
		Cache: cache}, nil); err != nil {
		t.Fatal(err)
	}
	data := vectorData(uint64(par.size()))
	rapid.Check(t, func(t *rapid.T) {
		d := &crashFiles{files: map[string]*crashFile{}}
		o := LabelOptions{}
		if rapid.Bool().Draw(t, "little memory") {
			o.Memory = LeastPreCommit1Memory(1)
		}
		offset := 128 * rapid.Uint64Range(0, 15).Draw(t, "offset")
		size := 128 * rapid.Uint64Range(1, 16-offset/128).Draw(t, "size")
		for try := 0; ; try++ {
			if d.left = rapid.IntRange(0, 60).Draw(t, "operations"); try == 5 {
				d.left = 1 << 30
			}
			var out bytes.Buffer
			j := unsealing{
				par:    par,
				id:     outs[0].ReplicaID,
				commD:  outs[0].CommD,
				sealed: sealed,
				out:    &out,
				offset: offset,
				size:   size,
			}
			err := j.run(context.Background(), d, o, nil)
			if err == nil {
				if !bytes.Equal(out.Bytes(), data[offset:offset+size]) {
					t.Fatal("other bytes")
				}
				if len(d.files) != 0 {
					t.Fatalf("left behind: %v", d.names())
				}
				return
			}
			if !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			if n := len(d.files); n > 6 { // two layers, one more being made, and their marks
				t.Fatalf("%d files: %v", n, d.names())
			}
			d.crash(func() bool { return rapid.Bool().Draw(t, "kept") })
		}
	})
}

func TestUnsealRefuses(t *testing.T) {
	s, info, _ := proved(t, test2KiB)
	var out bytes.Buffer
	good := UnsealTask{
		Sector: s.s,
		Ticket: s.req.Ticket,
		CommD:  info.UnsealedCID,
		Sealed: s.sealed,
		Out:    &out,
		Size:   2048,
	}
	for what, spoil := range map[string]func(*UnsealTask, *LabelOptions){
		"little memory without a directory": func(_ *UnsealTask, o *LabelOptions) { o.Memory = LeastPreCommit1Memory(1) },
		"an unknown seal proof":             func(t *UnsealTask, _ *LabelOptions) { t.Sector.Proof = 99 },
		"a short ticket":                    func(t *UnsealTask, _ *LabelOptions) { t.Ticket = t.Ticket[:31] },
		"a CommR for CommD":                 func(t *UnsealTask, _ *LabelOptions) { t.CommD = info.SealedCID },
		"an odd offset":                     func(t *UnsealTask, _ *LabelOptions) { t.Offset, t.Size = 1, 128 },
		"an odd size":                       func(t *UnsealTask, _ *LabelOptions) { t.Size = 127 },
		"a range beyond the end":            func(t *UnsealTask, _ *LabelOptions) { t.Offset, t.Size = 1920, 256 },
		"an offset beyond the end":          func(t *UnsealTask, _ *LabelOptions) { t.Offset, t.Size = 2176, 0 },
	} {
		task, o := good, LabelOptions{}
		spoil(&task, &o)
		if err := Unseal(context.Background(), task, o, nil); err == nil || out.Len() != 0 {
			t.Errorf("%s: %v, %d bytes came out", what, err, out.Len())
		}
	}
	if err := Unseal(context.Background(), good, LabelOptions{}, nil); err != nil || !bytes.Equal(out.Bytes(), s.data) {
		t.Errorf("the whole sector: %v", err)
	}
}
