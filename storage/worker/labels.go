package worker

import (
	"context"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/proofs/porep"
	"quarry/proofs/sdr"
)

// Parents gives the parents of a sealing graph from a file that all sectors of a
// kind share; nil parents are computed. *parents.Cache is one.
type Parents interface {
	For(ctx context.Context, proof abi.RegisteredSealProof, progress func(stage string, done, total int64)) (sdr.Parents, error)
}

// labelOptions is how labels of a sector are computed here.
func (w *Worker) labelOptions(ctx context.Context, s api.SectorRef, p *progress) (o porep.LabelOptions, err error) {
	if w.deps.Parents != nil {
		o.Parents, err = w.deps.Parents.For(ctx, s.ProofType, p.set)
	}
	return o, err
}
