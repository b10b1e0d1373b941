package deals

import (
	"context"
	"fmt"
	"time"

	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/markets/wire"
)

// noteIndexed says in the deal's record what indexing its piece found out.
func (p *Provider) noteIndexed(ctx context.Context, piece cid.Cid) func(*Record) {
	if p.deps.Indexed == nil {
		return func(*Record) {}
	}
	got, err := p.deps.Indexed(ctx, piece)
	if err != nil {
		p.deps.Log.Warn("cannot tell what of a piece is indexed", "piece", piece, "error", err)
		return func(*Record) {}
	}
	said := indexText(got)
	if got.IndexErr != "" {
		p.deps.Log.Warn("not all of a payload can be retrieved by CID", "piece", piece, "blocks", got.Blocks, "reason", got.IndexErr)
	}
	return func(r *Record) {
		r.logf(time.Now(), "%s", said)
		if r.IndexNote = ""; got.IndexErr != "" {
			r.IndexNote = said
		}
	}
}

// indexText is what of a piece can be retrieved, and why the rest cannot.
func indexText(r api.PieceRecord) string {
	said := fmt.Sprintf("%d blocks are indexed", r.Blocks)
	if r.Blocks == 1 {
		said = "1 block is indexed"
	}
	if r.IndexErr != "" {
		said += "; " + r.IndexErr
	}
	if r.Wrong > 0 {
		said += fmt.Sprintf("; %d found wrong since then, not served", r.Wrong)
	}
	return said
}

// PieceChanged notes with a piece's deals that blocks of it were found wrong. The
// log gets one line for the first of them.
func (p *Provider) PieceChanged(ctx context.Context, piece api.PieceRecord) error {
	for _, id := range piece.Deals {
		_, err := p.deps.Store.Update(ctx, id, func(r *Record) {
			if r.IndexNote = indexText(piece); piece.Wrong == 1 {
				r.logf(time.Now(), "a block of the piece is not what its CID says any more: %s", r.IndexNote)
			}
		})
		if err != nil {
			return fmt.Errorf("note wrong blocks with deal %s: %w", id, err)
		}
	}
	return nil
}

// withNote tells the client what of his payload cannot be retrieved. It is not
// an error: clients take one for the end of the deal.
func withNote(st *wire.DealStatus, r *Record) {
	if r.IndexNote != "" {
		st.SealingStatus += " (payload: " + r.IndexNote + ")"
	}
}
