package porep

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"pgregory.net/rapid"
)

// manyLayers is a small sector with as many layers as a large one.
func manyLayers(t testing.TB) *params {
	t.Helper()
	par, err := newParams(5, 64, false, interactive)
	if err != nil {
		t.Fatal(err)
	}
	par.layers = 11
	return &par
}

// tasks are n sectors of par, and their CommDs.
func tasks(t testing.TB, par *params, n int, cache func(int) Files) ([]PreCommit1Task, [][32]byte) {
	t.Helper()
	data := bytes.NewReader(vectorData(uint64(par.size())))
	commD, err := par.buildTreeD(context.Background(), data, newMemFiles(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, wants := make([]PreCommit1Task, n), make([][32]byte, n)
	for i := range out {
		out[i] = PreCommit1Task{
			Sector: Sector{Miner: 1000, Number: abi.SectorNumber(i)}, Ticket: bytes.Repeat([]byte{7}, 32),
			Unsealed: data, Cache: cache(i),
		}
		wants[i] = commD
	}
	return out, wants
}

// A first phase that is killed again and again, anywhere, with any part of the
// unsynced bytes lost, ends in the same files, and does not begin at the first
// layer each time.
func TestPreCommit1Resumes(t *testing.T) {
	par := manyLayers(t)
	var want []*memFiles
	ts, wants := tasks(t, par, 2, func(int) Files { want = append(want, newMemFiles()); return want[len(want)-1] })
	outs, err := par.preCommit1Batch(context.Background(), ts, wants, LabelOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	resumed := false
	rapid.Check(t, func(t *rapid.T) {
		dirs := []*crashFiles{{files: map[string]*crashFile{}}, {files: map[string]*crashFile{}}}
		for i := range ts {
			ts[i].Cache = dirs[i]
		}
		for try := 0; ; try++ {
			for _, d := range dirs {
				d.left = rapid.IntRange(0, 90).Draw(t, "operations")
				if try == 5 {
					d.left = 1 << 30
				}
			}
			first := int64(-1)
			got, err := par.preCommit1Batch(context.Background(), ts, wants, LabelOptions{}, func(stage string, done, _ int64) {
				if stage == StageLabels && first < 0 {
					first = done
				}
			})
			resumed = resumed || first > int64(par.nodes)
			if err == nil {
				if !slices.Equal(got, outs) {
					t.Fatalf("result %v want %v", got, outs)
				}
				break
			}
			if !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			for _, d := range dirs {
				d.crash(func() bool { return rapid.Bool().Draw(t, "kept") })
			}
		}
		for i, d := range dirs {
			if names, _ := want[i].List(); !slices.Equal(d.names(), names) {
				t.Fatalf("files %v want %v", d.names(), names)
			}
			for name, f := range d.files {
				if !bytes.Equal(f.live, want[i].m[name].b) || !bytes.Equal(f.durable, f.live) {
					t.Fatalf("%s of sector %d differs or is not durable", name, i)
				}
			}
		}
	})
	if !resumed {
		t.Error("no run went on where another had stopped")
	}
}

// Layers of another replica, and layers that changed since, are not believed.
func TestPreCommit1Distrusts(t *testing.T) {
	par := manyLayers(t)
	good := newMemFiles()
	ts, wants := tasks(t, par, 1, func(int) Files { return good })
	if _, err := par.preCommit1Batch(context.Background(), ts, wants, LabelOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	for what, harm := range map[string]func(d *crashFiles){
		"a flipped bit":      func(d *crashFiles) { d.files[layerName(3)].live[100] ^= 1 },
		"a short layer":      func(d *crashFiles) { f := d.files[layerName(3)]; f.live = f.live[:2000] },
		"a mark cut":         func(d *crashFiles) { f := d.files[wholeName(3)]; f.live = f.live[:95] },
		"a mark changed":     func(d *crashFiles) { d.files[wholeName(3)].live[40] ^= 1 },
		"a mark of another":  func(d *crashFiles) { d.files[wholeName(3)].live = d.files[wholeName(2)].live },
		"another replica id": func(*crashFiles) { ts[0].Ticket = bytes.Repeat([]byte{8}, 32) },
	} {
		d := &crashFiles{files: map[string]*crashFile{}, left: 60}
		ts[0].Cache, ts[0].Ticket = d, bytes.Repeat([]byte{7}, 32)
		if _, err := par.preCommit1Batch(context.Background(), ts, wants, LabelOptions{}, nil); !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		if d.files[wholeName(4)] == nil {
			t.Fatalf("%s: only %v were made", what, d.names())
		}
		harm(d)
		d.left = 1 << 30
		out, err := par.preCommit1Batch(context.Background(), ts, wants, LabelOptions{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := good
		if out[0].Ticket[0] != 7 {
			want = newMemFiles()
			ts[0].Cache = want
			if _, err := par.preCommit1Batch(context.Background(), ts, wants, LabelOptions{}, nil); err != nil {
				t.Fatal(err)
			}
		}
		for name, f := range d.files {
			if !bytes.Equal(f.live, want.m[name].b) {
				t.Errorf("%s: %s differs", what, name)
			}
		}
	}
}
