package pieces

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	mbase "github.com/multiformats/go-multibase"
	mh "github.com/multiformats/go-multihash"

	"quarry/api"
)

// Store keeps piece records and the block index. It is safe for concurrent use.
type Store struct {
	ds    datastore.Batching
	mu    sync.Mutex // serialises read-modify-write of records
	names names
}

// NewStore works on a datastore already prefixed for it.
func NewStore(ds datastore.Batching) *Store { return &Store{ds: ds} }

func pieceKey(c cid.Cid) datastore.Key { return datastore.NewKey("/piece/" + c.String()) }

func blockPrefix(h mh.Multihash) string {
	s, _ := mbase.Encode(mbase.Base32, h)
	return "/block/" + s
}

// Get returns a piece's record, api.ErrNotFound when the piece is not known.
func (s *Store) Get(ctx context.Context, piece cid.Cid) (api.PieceRecord, error) {
	var rec api.PieceRecord
	b, err := s.ds.Get(ctx, pieceKey(piece))
	if errors.Is(err, datastore.ErrNotFound) {
		return rec, &api.ErrNotFound{What: "piece " + piece.String()}
	}
	if err != nil {
		return rec, fmt.Errorf("read record of piece %s: %w", piece, err)
	}
	if err := json.Unmarshal(b, &rec); err != nil {
		return rec, fmt.Errorf("decode record of piece %s: %w", piece, err)
	}
	return rec, nil
}

// Update changes a piece's record, durably, creating it when it is new.
func (s *Store) Update(ctx context.Context, piece cid.Cid, change func(*api.PieceRecord)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, err := s.Get(ctx, piece)
	var missing *api.ErrNotFound
	if errors.As(err, &missing) {
		rec, err = api.PieceRecord{PieceCID: piece, Blocks: -1}, nil
	}
	if err != nil {
		return err
	}
	change(&rec)
	b, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	if err := s.ds.Put(ctx, pieceKey(piece), b); err != nil {
		return fmt.Errorf("write record of piece %s: %w", piece, err)
	}
	if err := s.ds.Sync(ctx, pieceKey(piece)); err != nil {
		return fmt.Errorf("write record of piece %s: %w", piece, err)
	}
	s.names.add(piece.String())
	return nil
}

// AddDeal notes that a deal put the piece at a place. Repeating it changes
// nothing.
func (s *Store) AddDeal(ctx context.Context, piece cid.Cid, deal api.UUID, payload uint64, at api.PiecePlacement) error {
	return s.Update(ctx, piece, func(r *api.PieceRecord) {
		r.Size = at.Size
		if payload > 0 {
			r.Payload = payload
		}
		if !slices.Contains(r.Deals, deal) {
			r.Deals = append(r.Deals, deal)
		}
		if !slices.Contains(r.Sectors, at) {
			r.Sectors = append(r.Sectors, at)
		}
	})
}
