package sdr

import (
	"context"

	"quarry/proofs/kernel"
)

// CPU computes labels with this package's own code. It refuses nothing. Parents
// that are a Graph are kept for the next time where that is small.
type CPU struct{}

// Label implements kernel.Labels.
func (CPU) Label(ctx context.Context, job kernel.LabelJob, store Store) error {
	if err := job.Check(store); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	b := Batch{
		Graph:    &Graph{nodes: job.Nodes}, // the engine asks it for no parents
		Parents:  job.Parents,
		Replicas: job.Replicas,
		Layers:   job.Layers,
		First:    job.First,
		Memory:   job.Memory,
		Done:     job.Done,
	}
	if g, ok := job.Parents.(*Graph); ok && g.nodes == job.Nodes {
		b.Graph = g
	}
	if err := b.check(); err != nil {
		return err
	}
	e, err := newEngine(ctx, &b, store)
	if err != nil {
		return err
	}
	defer e.release()
	return e.run(ctx)
}
