package update

import (
	"context"
	"fmt"
	"io"
	"sync"

	"quarry/proofs/merkle"
	"quarry/proofs/poseidon"
)

// batchNodes is how many nodes are read and put together at a time.
const batchNodes = 4096

// room is what a worker needs for a batch.
type room struct {
	raw  []byte
	data []poseidon.Element
}

// mixer computes a replica, writes it, and gives it as the leaves of its
// tree-r-last: from plus or minus data times rho.
type mixer struct {
	par        *params
	rhos       []poseidon.Element
	from, data io.ReaderAt
	to         io.WriterAt
	subtract   bool
	what       string // the name of from
}

func (m *mixer) leaves() merkle.Leaves {
	rooms := &sync.Pool{New: func() any {
		return &room{raw: make([]byte, batchNodes*merkle.NodeSize), data: make([]poseidon.Element, batchNodes)}
	}}
	return func(ctx context.Context, start uint64, dst []poseidon.Element) error {
		r := rooms.Get().(*room)
		defer rooms.Put(r)
		for len(dst) > 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			n := min(batchNodes, len(dst))
			if err := m.batch(r, start, dst[:n]); err != nil {
				return err
			}
			dst, start = dst[n:], start+uint64(n)
		}
		return nil
	}
}

func (m *mixer) batch(r *room, start uint64, dst []poseidon.Element) error {
	data, raw := r.data[:len(dst)], r.raw[:len(dst)*merkle.NodeSize]
	if err := read(m.from, dst, raw, start); err != nil {
		return fmt.Errorf("%s: %w", m.what, err)
	}
	if err := read(m.data, data, raw, start); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	for i := range dst {
		data[i].Mul(&data[i], m.par.rho(m.rhos, start+uint64(i)))
		if m.subtract {
			dst[i].Sub(&dst[i], &data[i])
		} else {
			dst[i].Add(&dst[i], &data[i])
		}
	}
	poseidon.EncodeRow(raw, dst)
	if _, err := m.to.WriteAt(raw, int64(start)*merkle.NodeSize); err != nil {
		return fmt.Errorf("writing the replica at byte %d: %w", start*merkle.NodeSize, err)
	}
	return nil
}
