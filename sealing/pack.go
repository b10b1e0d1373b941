package sealing

import (
	"math/bits"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/commp"
)

// minPiece is the smallest padded piece.
const minPiece abi.PaddedPieceSize = 128

// fillers are the zero pieces that lead from offset from to offset to, each
// aligned to its own size; both are multiples of 128. They grow while the
// alignment of from limits them and shrink while the distance does, which is
// the same split Lotus makes (storage/pipeline/sealiface, GetRequiredPadding).
func fillers(from, to abi.PaddedPieceSize) []piece {
	var out []piece
	for from < to {
		size := abi.PaddedPieceSize(1) << (63 - bits.LeadingZeros64(uint64(to-from)))
		if from > 0 {
			size = min(size, from&-from)
		}
		out = append(out, piece{Offset: from, Info: abi.PieceInfo{Size: size, PieceCID: commp.ZeroPiece(size)}})
		from += size
	}
	return out
}

// alignUp is the first multiple of size not below off; size is a power of two.
func alignUp(off, size abi.PaddedPieceSize) abi.PaddedPieceSize {
	return (off + size - 1) &^ (size - 1)
}

// plan is what appending p to the record's plan means: filler up to p's own
// alignment, then p. ok is false when it does not fit the sector.
func plan(r record, p piece, sector abi.PaddedPieceSize) (out []piece, padding abi.PaddedPieceSize, ok bool) {
	end := r.end()
	at := alignUp(end, p.Info.Size)
	if at > sector || p.Info.Size > sector-at {
		return nil, 0, false
	}
	p.Offset = at
	out = append(fillers(end, at), p)
	number(out, r.NextSeq)
	return out, at - end, true
}

func number(pieces []piece, seq uint64) {
	for i := range pieces {
		pieces[i].Seq = seq + uint64(i)
	}
}
