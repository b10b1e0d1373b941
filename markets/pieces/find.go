package pieces

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	mh "github.com/multiformats/go-multihash"

	"quarry/api"
)

// Location is one place of a block.
type Location struct {
	Piece  cid.Cid
	Offset uint64 // of the block's data in the payload
	Length uint64
}

// Find lists the places of a block, none when it is not indexed; pieces that
// were found to lie come last. There is no cap: every place cost its client a
// deal, and the honest one may be the last.
func (s *Store) Find(ctx context.Context, h mh.Multihash) ([]Location, error) {
	res, err := s.ds.Query(ctx, query.Query{Prefix: blockPrefix(h), Orders: []query.Order{query.OrderByKey{}}})
	if err != nil {
		return nil, fmt.Errorf("look up block %s: %w", h.B58String(), err)
	}
	defer res.Close()
	var out []Location
	for e := range res.Next() {
		if e.Error != nil {
			return nil, fmt.Errorf("look up block %s: %w", h.B58String(), e.Error)
		}
		piece, err := cid.Decode(e.Key[strings.LastIndexByte(e.Key, '/')+1:])
		off, length, ok := decodePlace(e.Value)
		if err != nil || !ok {
			continue
		}
		out = append(out, Location{Piece: piece, Offset: off, Length: length})
	}
	return s.byTrust(ctx, out)
}

// byTrust puts the pieces that lied last.
func (s *Store) byTrust(ctx context.Context, all []Location) ([]Location, error) {
	if len(all) < 2 {
		return all, nil
	}
	lied := map[cid.Cid]int{}
	for _, l := range all {
		bad, err := s.ds.Has(ctx, liedKey(l.Piece))
		if err != nil {
			return nil, fmt.Errorf("look up whether piece %s lied: %w", l.Piece, err)
		}
		if bad {
			lied[l.Piece] = 1
		}
	}
	slices.SortStableFunc(all, func(a, b Location) int { return lied[a.Piece] - lied[b.Piece] })
	return all, nil
}

func liedKey(piece cid.Cid) datastore.Key { return datastore.NewKey("/lied/" + piece.String()) }

// setTrust remembers whether a piece's blocks were all found right.
func (s *Store) setTrust(ctx context.Context, piece cid.Cid, trusted bool) error {
	var err error
	if trusted {
		err = s.ds.Delete(ctx, liedKey(piece))
	} else {
		err = s.ds.Put(ctx, liedKey(piece), []byte{1})
	}
	if err != nil {
		return fmt.Errorf("remember whether piece %s lied: %w", piece, err)
	}
	return s.ds.Sync(ctx, liedKey(piece))
}

// Lied takes the index entry of a block out that led to other bytes, notes it in
// the piece's record, and puts the piece behind all others from now on. An entry
// that leads elsewhere meanwhile stays. Indexing the piece again, with right
// bytes, mends it.
func (s *Store) Lied(ctx context.Context, h mh.Multihash, l Location) error {
	if err := s.setTrust(ctx, l.Piece, false); err != nil {
		return err
	}
	s.mu.Lock()
	gone, err := s.dropEntry(ctx, entryKey(h, l.Piece.String()), encodePlace(l.Offset, l.Length))
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("take block %s of piece %s out of the index: %w", h.B58String(), l.Piece, err)
	}
	if !gone {
		return nil
	}
	return s.Update(ctx, l.Piece, func(r *api.PieceRecord) {
		r.Wrong++
		r.Blocks = max(r.Blocks-1, 0)
	})
}

func (s *Store) dropEntry(ctx context.Context, key datastore.Key, val []byte) (bool, error) {
	old, err := s.ds.Get(ctx, key)
	if errors.Is(err, datastore.ErrNotFound) || err == nil && !bytes.Equal(old, val) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := s.ds.Delete(ctx, key); err != nil {
		return false, err
	}
	return true, s.ds.Sync(ctx, key)
}
