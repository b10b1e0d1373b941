package tasks

import (
	"context"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/porep"
	"quarry/proofs/sdr"
)

// Parents gives the parents of a sealing graph from a file that all sectors of a
// kind share; nil parents are computed. *parents.Cache is one.
type Parents interface {
	For(ctx context.Context, proof abi.RegisteredSealProof, progress func(stage string, done, total int64)) (sdr.Parents, error)
}

// labelOptions is how labels of a sector are computed here.
func (j *job) labelOptions(ctx context.Context) (o porep.LabelOptions, err error) {
	if j.parents != nil {
		o.Parents, err = j.parents.For(ctx, j.sector.ProofType, j.Set)
	}
	return o, err
}
