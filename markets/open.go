package markets

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"quarry/api"
	"quarry/markets/pieces"
	"quarry/markets/retrieve"
)

// OpenPiece opens a piece's payload: a staged file while there is one, else an
// unsealed copy, else, where the operator allows it, one unsealed for this. It
// returns api.ErrNotFound for a piece that no deal brought, and api.ErrBusy for
// one of which no copy can be read now.
func (m *Markets) OpenPiece(ctx context.Context, piece cid.Cid) (retrieve.Payload, error) {
	rec, err := m.pieces.Get(ctx, piece)
	if err != nil {
		return nil, err
	}
	for _, id := range rec.Deals {
		if f, err := openStaged(m.deals.StagedPath(id), rec.Payload); err == nil {
			return f, nil
		}
	}
	var errs []error
	for _, at := range rec.Sectors {
		p, err := m.openSector(ctx, rec, at)
		if err == nil {
			return p, nil
		}
		errs = append(errs, err)
	}
	err = errors.Join(errs...)
	var missing *api.ErrNotFound
	if err == nil || errors.As(err, &missing) {
		return nil, &api.ErrBusy{What: "piece " + piece.String(), Reason: fmt.Sprintf("it has no copy that can be read (%v)", err)}
	}
	return nil, err
}

// Lied takes a block that a piece does not hold out of the index, and says so in
// the piece's deals.
func (m *Markets) Lied(ctx context.Context, h mh.Multihash, l pieces.Location) error {
	if err := m.pieces.Lied(ctx, h, l); err != nil {
		return err
	}
	rec, err := m.pieces.Get(ctx, l.Piece)
	if err != nil {
		return err
	}
	return m.deals.PieceChanged(ctx, rec)
}
