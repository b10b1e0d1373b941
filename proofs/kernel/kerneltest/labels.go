package kerneltest

import (
	"bytes"
	"context"
	"fmt"

	"quarry/proofs/kernel"
	"quarry/proofs/sdr"
)

type labelSuite struct {
	k kernel.Labels
	Options
}

func (s labelSuite) cases() []Case {
	return []Case{
		{"labels/golden layers of a sector", s.goldenSector},
		{"labels/golden last labels", s.goldenLast},
		{"labels/equal the reference", s.reference},
		{"labels/many nodes in little memory", s.large},
		{"labels/go on after a whole layer", s.resumed},
		{"labels/many calls at once", s.together},
		{"labels/senseless jobs are refused", s.senseless},
		{"labels/parents outside the layers are refused", s.badParents},
		{"labels/failures are told", s.failures},
		{"labels/end with the context", s.ends},
	}
}

// make runs a job; done is false where the backend may refuse it and did.
func (s labelSuite) make(ctx context.Context, job kernel.LabelJob, st *store) (done bool, err error) {
	err = s.k.Label(ctx, job, st)
	if s.refused(err) {
		if st.used {
			return false, fmt.Errorf("refused, but the store was used: %w", err)
		}
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, st.bad
}

func (s labelSuite) goldenSector(ctx context.Context) error {
	v := &vectors().Sector
	g, err := sdr.NewGraph([32]byte(v.PorepID), 64, false)
	if err != nil {
		return err
	}
	st := newStore(64, 1, 2)
	done, err := s.make(ctx, kernel.LabelJob{Nodes: 64, Parents: g, Replicas: [][32]byte{[32]byte(v.ReplicaID)}, Layers: 2}, st)
	if err != nil || !done {
		return err
	}
	for i, want := range [][]byte{v.Layer1, v.Layer2} {
		if got := st.layers[0][i+1]; !bytes.Equal(got, want) {
			return fmt.Errorf("layer %d differs from node %d on", i+1, differ(got, want))
		}
	}
	return nil
}

func (s labelSuite) goldenLast(ctx context.Context) error {
	const layers = 11
	for i, v := range vectors().Labels {
		g, err := sdr.NewGraph([32]byte(v.PorepID), v.Nodes, v.Legacy)
		if err != nil {
			return err
		}
		st, id := newStore(v.Nodes, 1, layers), [32]byte(bytes.Repeat([]byte{9}, 32))
		done, err := s.make(ctx, kernel.LabelJob{Nodes: v.Nodes, Parents: g, Replicas: [][32]byte{id}, Layers: layers}, st)
		if err != nil || !done {
			return err
		}
		if last := st.layers[0][layers]; !bytes.Equal(last[len(last)-32:], v.Last) {
			return fmt.Errorf("vector %d: the last label is %x, want %x", i, last[len(last)-32:], []byte(v.Last))
		}
	}
	return nil
}

// against computes a job and compares with the reference.
func (s labelSuite) against(ctx context.Context, nodes uint64, sectors, layers int, memory int64) (bool, error) {
	p, ids := drawParents(nodes, nodes), replicas(sectors)
	st := newStore(nodes, sectors, layers)
	var last uint64
	var bad error
	done, err := s.make(ctx, kernel.LabelJob{
		Nodes:    nodes,
		Parents:  p,
		Replicas: ids,
		Layers:   layers,
		Memory:   memory,
		Done: func(n uint64) {
			if n < last {
				bad = fmt.Errorf("progress went back from %d to %d", last, n)
			}
			last = n
		},
	}, st)
	if err == nil && done {
		err = st.check(p, ids, layers)
	}
	if total := nodes * uint64(layers); err == nil && done && last != total {
		err = fmt.Errorf("progress ended at %d of %d nodes", last, total)
	}
	if err == nil {
		err = bad
	}
	if err != nil {
		return done, fmt.Errorf("%d sectors of %d nodes, %d layers: %w", sectors, nodes, layers, err)
	}
	return done, nil
}

func (s labelSuite) reference(ctx context.Context) error {
	for _, nodes := range []uint64{2, 3, 31, 64, 65, 2047, 2048, 2049} {
		for sectors := 1; sectors <= 3; sectors++ {
			if _, err := s.against(ctx, nodes, sectors, 3, 0); err != nil {
				return err
			}
		}
	}
	_, err := s.against(ctx, 5, kernel.MaxSectors, 1, 0)
	return err
}

func (s labelSuite) large(ctx context.Context) error {
	done, err := s.against(ctx, 1<<16+1, 2, 2, 12<<20)
	if err == nil && !done {
		err = fmt.Errorf("a layer of 2^16 nodes must be done: %w", kernel.ErrUnsupported)
	}
	return err
}

func (s labelSuite) resumed(ctx context.Context) error {
	const nodes, sectors, layers = 300, 2, 4
	p, ids := drawParents(nodes, 3), replicas(sectors)
	for given := 1; given < layers; given++ {
		st := newStore(nodes, sectors, layers)
		st.given = given
		for i, id := range ids {
			copy(st.layers[i][1:], p.layers(id, given))
			st.whole[i] = given
		}
		first := uint64(0)
		done, err := s.make(ctx, kernel.LabelJob{
			Nodes:    nodes,
			Parents:  p,
			Replicas: ids,
			Layers:   layers,
			First:    given + 1,
			Done: func(n uint64) {
				if first == 0 {
					first = n
				}
			},
		}, st)
		if err == nil && done {
			err = st.check(p, ids, layers)
		}
		if err == nil && done && first <= uint64(given)*nodes {
			err = fmt.Errorf("progress began at %d", first)
		}
		if err != nil {
			return fmt.Errorf("from layer %d on: %w", given+1, err)
		}
	}
	return nil
}

func (s labelSuite) together(ctx context.Context) error {
	return atOnce(func(i int) error {
		_, err := s.against(ctx, 70+uint64(i), 1+i%2, 2, 0)
		return err
	})
}

func (s labelSuite) senseless(ctx context.Context) error {
	good := func() kernel.LabelJob {
		return kernel.LabelJob{Nodes: 64, Parents: drawParents(64, 1), Replicas: replicas(1), Layers: 2}
	}
	for what, spoil := range map[string]func(*kernel.LabelJob){
		"no node":            func(j *kernel.LabelJob) { j.Nodes = 0 },
		"one node":           func(j *kernel.LabelJob) { j.Nodes = 1 },
		"too many nodes":     func(j *kernel.LabelJob) { j.Nodes = 1<<32 + 1 },
		"no parents":         func(j *kernel.LabelJob) { j.Parents = nil },
		"no sector":          func(j *kernel.LabelJob) { j.Replicas = nil },
		"too many sectors":   func(j *kernel.LabelJob) { j.Replicas = replicas(kernel.MaxSectors + 1) },
		"no layer":           func(j *kernel.LabelJob) { j.Layers = 0 },
		"first below zero":   func(j *kernel.LabelJob) { j.First = -1 },
		"first after last":   func(j *kernel.LabelJob) { j.First = 3 },
		"memory below zero":  func(j *kernel.LabelJob) { j.Memory = -1 },
		"all wrong together": func(j *kernel.LabelJob) { *j = kernel.LabelJob{} },
	} {
		j, st := good(), newStore(64, 1, 2)
		spoil(&j)
		j.Done = func(uint64) { st.used = true }
		err := s.k.Label(ctx, j, st)
		if err := wrong(what, err, kernel.ErrInput, !st.used); err != nil {
			return err
		}
	}
	return wrong("no store", s.k.Label(ctx, good(), nil), kernel.ErrInput, true)
}

// badParents are what a damaged file may give: used unchecked, they would be read
// from outside the layers.
func (s labelSuite) badParents(ctx context.Context) error {
	const nodes = 100
	for what, spoil := range map[string]func(of []uint32){
		"a base parent that is the node":       func(of []uint32) { of[50*kernel.Degree] = 50 },
		"a base parent after the node":         func(of []uint32) { of[99*kernel.Degree+5] = nodes },
		"a parent below outside the layer":     func(of []uint32) { of[50*kernel.Degree+6] = nodes },
		"a parent below far outside the layer": func(of []uint32) { of[99*kernel.Degree+13] = 1<<32 - 1 },
	} {
		p, st := drawParents(nodes, 2), newStore(nodes, 1, 2)
		spoil(p.of)
		if err := s.k.Label(ctx, kernel.LabelJob{Nodes: nodes, Parents: p, Replicas: replicas(1), Layers: 2}, st); err == nil {
			return fmt.Errorf("%s was taken", what)
		}
		if st.bad != nil {
			return fmt.Errorf("%s: %w", what, st.bad)
		}
	}
	return nil
}

func (s labelSuite) failures(ctx context.Context) error {
	const nodes = 100
	broken := func() error { return errBroken }
	for what, spoil := range map[string]func(*drawnParents, *store, *kernel.LabelJob){
		"parents": func(p *drawnParents, _ *store, _ *kernel.LabelJob) { p.fault = errBroken },
		"writing": func(_ *drawnParents, st *store, _ *kernel.LabelJob) { st.onWrite = broken },
		"finishing": func(_ *drawnParents, st *store, _ *kernel.LabelJob) {
			st.onFinish = broken
		},
		"reading": func(p *drawnParents, st *store, j *kernel.LabelJob) {
			copy(st.layers[0][1:], p.layers(j.Replicas[0], 1))
			st.whole[0], j.First, st.onRead = 1, 2, broken
		},
	} {
		p, st := drawParents(nodes, 2), newStore(nodes, 1, 2)
		j := kernel.LabelJob{Nodes: nodes, Parents: p, Replicas: replicas(1), Layers: 2}
		spoil(p, st, &j)
		err := s.k.Label(ctx, j, st)
		if s.refused(err) {
			continue
		}
		if err := wrong("when "+what+" fails", err, errBroken, true); err != nil {
			return err
		}
		if st.whole[0] == 2 && what != "finishing" {
			return fmt.Errorf("%s failed, and the last layer was finished all the same", what)
		}
	}
	return nil
}

func (s labelSuite) ends(ctx context.Context) error {
	const nodes = 10_000
	j := kernel.LabelJob{Nodes: nodes, Parents: drawParents(nodes, 4), Replicas: replicas(1), Layers: 3}
	st := newStore(nodes, 1, 3)
	if err := s.ended("labels", s.k.Label(gone(ctx), j, st), !st.used); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	st = newStore(nodes, 1, 3)
	st.onFinish = func() error { cancel(); return nil }
	err := s.k.Label(ctx, j, st)
	if s.refused(err) {
		return nil
	}
	if err := wrong("ended after the first layer", err, context.Canceled, true); err != nil {
		return err
	}
	if st.whole[0] != 1 {
		return fmt.Errorf("ended after the first layer, and %d were finished", st.whole[0])
	}
	return st.bad
}
