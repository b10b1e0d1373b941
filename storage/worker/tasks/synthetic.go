package tasks

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"quarry/api"
	"quarry/proofs/merkle"
	"quarry/proofs/porep"
	"quarry/storage/paths"
)

// synthesized finds out whether an attempt at PC2 with synthetic PoRep got as far
// as dropping layers, after which it can only be done: replica, trees and
// synthetic proofs were whole and published before. That they still are is
// proven.
func (j *job) synthesized(ctx context.Context, pc1 porep.PreCommit1Out, dir paths.CacheDir) (com porep.Commitments, done bool, err error) {
	if !porep.Synthetic(j.sector.ProofType) {
		return com, false, nil
	}
	names, err := dir.List()
	if err != nil {
		return com, false, err
	}
	layers := 0
	for _, n := range names {
		if strings.Contains(n, "-layer-") && strings.HasSuffix(n, ".dat") {
			layers++
		}
	}
	if layers >= pc1.Layers {
		return com, false, nil
	}
	j.Set("check synthetic proofs", 0, 0)
	if com, err = j.proveSynthesized(ctx, pc1, dir); err != nil {
		return com, false, fmt.Errorf("layers are missing, and what was made of them is not whole; PC1 must be done again: %w", err)
	}
	return com, true, nil
}

// proveSynthesized rebuilds the result of PC2 and makes a proof for any seed, which
// is verified as it is made.
func (j *job) proveSynthesized(ctx context.Context, pc1 porep.PreCommit1Out, dir paths.CacheDir) (com porep.Commitments, err error) {
	com.CommD = pc1.CommD
	if com.CommC, com.CommRLast, err = porep.ReadAux(dir); err != nil {
		return com, err
	}
	if com.CommR, err = merkle.HashNodes(com.CommC, com.CommRLast); err != nil {
		return com, err
	}
	f, err := j.openFile(ctx, api.FileSealed)
	if err != nil {
		return com, err
	}
	defer f.Close() //nolint:errcheck // read only
	req := porep.ProveRequest{Ticket: pc1.Ticket[:], Seed: bytes.Repeat([]byte{1}, 32), Commitments: com}
	_, err = porep.Prove(ctx, j.porep(), req, f, dir)
	return com, err
}
