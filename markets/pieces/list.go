package pieces

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"quarry/api"
)

// names are the pieces that there are, in order. The datastore has no way to begin
// in the middle, so that a page of it costs as much as all those before.
type names struct {
	mu     sync.Mutex
	loaded bool
	list   []string // ascending
}

func (n *names) add(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.loaded {
		n.insert(name)
	}
}

func (n *names) insert(name string) {
	if i, there := slices.BinarySearch(n.list, name); !there {
		n.list = slices.Insert(n.list, i, name)
	}
}

// after gives at most limit names that come after cursor, and whether there are
// more.
func (n *names) after(cursor string, limit int) (page []string, more bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i, there := slices.BinarySearch(n.list, cursor)
	if there {
		i++
	}
	rest := n.list[i:]
	return slices.Clone(rest[:min(limit, len(rest))]), len(rest) > limit
}

// loadNames reads them once.
func (s *Store) loadNames(ctx context.Context) error {
	s.mu.Lock() // no record is written meanwhile
	defer s.mu.Unlock()
	s.names.mu.Lock()
	defer s.names.mu.Unlock()
	if s.names.loaded {
		return nil
	}
	res, err := s.ds.Query(ctx, query.Query{Prefix: "/piece", KeysOnly: true})
	if err != nil {
		return fmt.Errorf("list pieces: %w", err)
	}
	defer res.Close()
	s.names.list = nil
	for e := range res.Next() {
		if e.Error != nil {
			return fmt.Errorf("list pieces: %w", e.Error)
		}
		s.names.list = append(s.names.list, datastore.RawKey(e.Key).Name())
	}
	slices.Sort(s.names.list)
	s.names.loaded = true
	return nil
}

// List pages through the records in the order of their CIDs; cursor is the last
// piece CID of the page before. One record that cannot be read is shown with the
// reason, and does not hide the others.
func (s *Store) List(ctx context.Context, cursor string, limit int) ([]api.PieceRecord, string, error) {
	if err := s.loadNames(ctx); err != nil {
		return nil, "", err
	}
	page, more := s.names.after(cursor, limit)
	out := make([]api.PieceRecord, 0, len(page))
	for _, name := range page {
		piece, err := cid.Decode(name)
		if err != nil {
			return nil, "", fmt.Errorf("stored piece %q has no CID: %w", name, err) // nothing of ours writes that
		}
		rec, err := s.Get(ctx, piece)
		if ctx.Err() != nil {
			return nil, "", ctx.Err()
		}
		if err != nil {
			rec = api.PieceRecord{PieceCID: piece, Blocks: -1, IndexErr: err.Error()}
		}
		out = append(out, rec)
	}
	if !more {
		return out, "", nil
	}
	return out, page[len(page)-1], nil
}
