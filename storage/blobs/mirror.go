package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"quarry/api"
)

// Mirror is the store of a private node as a worker uses it: what the worker
// makes lies in a store of its own first, so that it outlives the worker and the
// node being away, and what it reads is fetched into that store once.
type Mirror struct {
	own  *Store
	node *Client // nil: own is the store of the node

	mu       sync.Mutex
	fetching map[api.CidString]chan struct{}
}

var (
	_ api.Blobs = (*Store)(nil)
	_ api.Blobs = (*Mirror)(nil)
)

// NewMirror joins a worker's store with the node's; without a node own is the
// node's.
func NewMirror(own *Store, node *Client) *Mirror {
	return &Mirror{own: own, node: node, fetching: map[api.CidString]chan struct{}{}}
}

// Keep stores what r gives in the worker's own store; see [Store.BlobPut].
func (m *Mirror) Keep(ctx context.Context, r io.Reader) (api.BlobRef, error) {
	return m.own.BlobPut(ctx, r)
}

// Upload makes sure that the node has a blob that was kept. It sends nothing that
// the node has. *api.ErrInvalid is a refusal for good, *api.ErrNotFound means that
// our own copy is gone or damaged.
func (m *Mirror) Upload(ctx context.Context, ref api.BlobRef) error {
	if m.node == nil {
		there, err := m.own.Touch(ref)
		if err == nil && !there {
			return &api.ErrNotFound{What: "bulk result " + string(ref.CID), Hint: "it is made again"}
		}
		return err
	}
	if there, err := m.node.Has(ctx, ref); err != nil || there {
		return err
	}
	f, err := m.own.BlobOpen(ctx, ref)
	if err != nil {
		return err
	}
	return errors.Join(m.node.Put(ctx, ref, f), f.Close())
}

// BlobPut keeps what r gives and makes sure that the node has it.
func (m *Mirror) BlobPut(ctx context.Context, r io.Reader) (api.BlobRef, error) {
	ref, err := m.Keep(ctx, r)
	if err != nil {
		return api.BlobRef{}, err
	}
	if err := m.Upload(ctx, ref); err != nil {
		return api.BlobRef{}, err
	}
	return ref, nil
}

// BlobOpen reads a blob out of the worker's own store, into which it is fetched
// when it is not there. *api.ErrInvalid for a reference that cannot be.
func (m *Mirror) BlobOpen(ctx context.Context, ref api.BlobRef) (io.ReadCloser, error) {
	if ref.Size < 0 || ref.Size > m.own.cfg.Max {
		return nil, &api.ErrInvalid{
			What:   fmt.Sprintf("bulk result %.80q", ref.CID),
			Reason: fmt.Sprintf("it is said to have %d bytes; the most is %d", ref.Size, m.own.cfg.Max),
		}
	}
	f, err := m.own.BlobOpen(ctx, ref)
	var missing *api.ErrNotFound
	if m.node == nil || !errors.As(err, &missing) {
		return f, err
	}
	if err := m.fetch(ctx, ref); err != nil {
		return nil, err
	}
	return m.own.BlobOpen(ctx, ref)
}

// fetch gets a blob from the node, once for all that want it at the same time.
func (m *Mirror) fetch(ctx context.Context, ref api.BlobRef) error {
	for {
		m.mu.Lock()
		other := m.fetching[ref.CID]
		if other == nil {
			break
		}
		m.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return ctx.Err()
		}
		if there, err := m.own.Touch(ref); err != nil || there {
			return err
		}
	}
	done := make(chan struct{})
	m.fetching[ref.CID] = done
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.fetching, ref.CID)
		m.mu.Unlock()
		close(done)
	}()
	r, err := m.node.BlobOpen(ctx, ref)
	if err != nil {
		return err
	}
	return errors.Join(m.own.putNamed(ctx, ref.CID, r), r.Close())
}

// Sweep deletes what named does not list from the worker's own store; see
// [Store.SweepUnnamed]. The node's store it leaves alone: what tasks name is the
// node's business.
func (m *Mirror) Sweep(named map[api.CidString]bool, age time.Duration) (int, error) {
	if m.node == nil {
		return 0, nil
	}
	return m.own.SweepUnnamed(named, age)
}
