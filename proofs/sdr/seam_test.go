package sdr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"quarry/proofs/kernel"
)

// device is the CPU; it notes the job it is given.
type device struct {
	CPU
	fault error
	job   kernel.LabelJob
}

func (d *device) Label(ctx context.Context, job kernel.LabelJob, store kernel.LabelStore) error {
	if d.job = job; d.fault != nil {
		return d.fault
	}
	return d.CPU.Label(ctx, job, store)
}

// A batch's kernel is given the whole batch; what it refuses the CPU does, and if
// it fails, so does the batch.
func TestBatchGoesToItsKernel(t *testing.T) {
	g, err := NewGraph(Node{5}, 300, false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, done := context.Background(), uint64(0)
	b := Batch{Graph: g, Replicas: []Node{{1}, {2}, {3}}, Layers: 3, Done: func(n uint64) { done = n }}
	want := newLayerStore()
	if err := GenerateLayersBatch(ctx, b, want); err != nil {
		t.Fatal(err)
	}
	for what, fault := range map[string]error{"done": nil, "refused": fmt.Errorf("not that: %w", kernel.ErrUnsupported)} {
		d, got := &device{fault: fault}, newLayerStore()
		b.Kernel, done = d, 0
		if err := GenerateLayersBatch(ctx, b, got); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		for k, labels := range want.layers {
			if !bytes.Equal(got.layers[k], labels) || !got.finished[k] {
				t.Errorf("%s: layer %d of sector %d differs", what, k[1], k[0])
			}
		}
		if j := &d.job; j.Nodes != 300 || j.Parents != Parents(g) || len(j.Replicas) != 3 || j.Layers != 3 || j.First != 0 ||
			j.Memory != 0 || done != 900 {
			t.Errorf("%s: the job was %+v, progress %d", what, j, done)
		}
	}
	broken := errors.New("out of order")
	d := &device{fault: broken}
	b.Kernel, b.First, b.Memory = d, 2, MemoryNeed(300, 3)
	if err := GenerateLayersBatch(ctx, b, newLayerStore()); !errors.Is(err, broken) {
		t.Errorf("failed: %v", err)
	}
	if d.job.First != 2 || d.job.Memory != b.Memory {
		t.Errorf("the job was %+v", d.job)
	}
	d.job = kernel.LabelJob{}
	if b.Layers = 0; GenerateLayersBatch(ctx, b, newLayerStore()) == nil || d.job.Layers != 0 || d.job.Nodes != 0 {
		t.Error("a batch that makes no sense was taken, or given to the kernel")
	}
}
