package pieces

import (
	"context"
	"slices"

	"github.com/ipfs/go-cid"

	"quarry/api"
)

// ForgetSector takes a placement out of a piece's record, so that nobody looks
// for the piece in a sector that gave it up. One that is not there is no error.
func (s *Store) ForgetSector(ctx context.Context, piece cid.Cid, at api.PiecePlacement) error {
	return s.Update(ctx, piece, func(r *api.PieceRecord) {
		r.Sectors = slices.DeleteFunc(r.Sectors, func(p api.PiecePlacement) bool { return p == at })
	})
}
