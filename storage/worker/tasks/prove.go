package tasks

import (
	"bytes"
	"context"

	"quarry/api"
	"quarry/proofs/porep"
)

// commit1 makes the vanilla proof of a sealed sector.
func (j *job) commit1(ctx context.Context, a api.Commit1Params) (none api.Commit1Result, err error) {
	com, err := opaque[porep.Commitments](a.Commitments.RawMessage)
	if err != nil {
		return none, err
	}
	cache, err := j.cacheDir(ctx, api.FileCache)
	if err != nil {
		return none, err
	}
	f, err := j.openFile(ctx, api.FileSealed)
	if err != nil {
		return none, err
	}
	defer f.Close() //nolint:errcheck // read only
	j.Set("vanilla proof", 0, 0)
	blob, err := porep.Prove(ctx, j.porep(), porep.ProveRequest{Ticket: a.Ticket, Seed: a.Seed, Commitments: com}, f, cache)
	if err != nil {
		return none, err
	}
	ref, err := j.Keep(ctx, bytes.NewReader(blob))
	return api.Commit1Result{Vanilla: ref}, err
}
