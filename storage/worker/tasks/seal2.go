package tasks

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"quarry/api"
	"quarry/proofs/commp"
	"quarry/proofs/porep"
	"quarry/storage/paths"
	"quarry/storage/unsealed"
)

// sealedName is the file in the cache directory that keeps what PC2 gave until
// the sector is finalized.
const sealedName = "pc2-output"

func (j *job) preCommit2(ctx context.Context, a api.PreCommit2Params) (none api.PreCommit2Result, err error) {
	pc1, err := opaque[porep.PreCommit1Out](a.PreCommit1Out.RawMessage)
	if err != nil {
		return none, err
	}
	cache, err := j.have(ctx, api.FileCache)
	if err != nil {
		return none, err
	}
	dir := paths.CacheDir(cache.FilePath(j.sector.ID, api.FileCache))
	com, done, err := j.synthesized(ctx, pc1, dir)
	if err == nil && !done {
		com, err = j.replica(ctx, pc1, cache)
	}
	if err == nil && porep.Synthetic(j.sector.ProofType) {
		err = porep.ClearCache(dir, j.sector.ProofType) // the proof is made out of the file beside
	}
	if err != nil {
		return none, err
	}
	raw, err := json.Marshal(com)
	if err != nil {
		return none, fmt.Errorf("encode commitments: %w", err)
	}
	return api.PreCommit2Result{
		SealedCID:   api.CidString(com.SealedCID().String()),
		UnsealedCID: api.CidString(com.UnsealedCID().String()),
		Commitments: api.SealCommitments{RawMessage: raw},
	}, nil
}

// sealedData opens the bytes that PC1 has seen. Zeros must not stand for a file
// that nobody can find at the moment: the replica would be that of other data.
func (j *job) sealedData(ctx context.Context, pc1 porep.PreCommit1Out) (sectorBytes, error) {
	data, err := j.sectorData(ctx)
	if err != nil {
		return nil, err
	}
	_, hasFile := data.(*unsealed.File)
	com := porep.Commitments{CommD: pc1.CommD}
	if !hasFile && !com.UnsealedCID().Equals(commp.ZeroPiece(pad(j.size))) {
		return nil, &api.ErrNotFound{What: j.name(api.FileUnsealed), Hint: "the sector has data, and no attached storage path has it"}
	}
	return data, nil
}

// replica makes the replica and the trees, and publishes them. Whole ones of an
// earlier attempt whose report was lost are taken as they are.
func (j *job) replica(ctx context.Context, pc1 porep.PreCommit1Out, cache paths.Path) (com porep.Commitments, err error) {
	need := paths.Need(api.FileSealed, j.size, true)
	if porep.Synthetic(j.sector.ProofType) {
		need += uint64(j.size) * 4 / 10 // 11 GB for 32 GiB
	}
	input, err := inputOf(j.sector, pc1)
	if err != nil {
		return com, err
	}
	dir := paths.CacheDir(cache.FilePath(j.sector.ID, api.FileCache))
	record := filepath.Join(string(dir), sealedName)
	at, published := j.local.Find(ctx, j.sector.ID, api.FileSealed)
	if published && loadFinished(record, input, &com) && j.proveSeal(ctx, pc1, com, at.FilePath(j.sector.ID, api.FileSealed), dir) == nil {
		err = j.declare(ctx, at, api.FileSealed, false)
	} else {
		com, at, err = j.makeReplica(ctx, pc1, cache, need, input)
	}
	if err != nil {
		return com, paths.AsNoSpace(err, "replica of sector "+j.String(), need)
	}
	proven := func(context.Context) error { return nil } // by proveSeal, a moment ago
	return com, firstError(
		func() error { return j.declare(ctx, cache, api.FileCache, false) },
		func() error { return j.deleteOtherCopies(ctx, at, api.FileSealed, proven) },
		func() error { return j.deleteOtherCopies(ctx, cache, api.FileCache, proven) },
		func() error { return clearRecords(dir, inputName, outputName) },
	)
}

// firstError does one step after the other until one fails.
func firstError(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// makeReplica makes the replica where an earlier attempt at it lies, on the path
// where its cache is, or elsewhere when that is full.
func (j *job) makeReplica(
	ctx context.Context, pc1 porep.PreCommit1Out, cache paths.Path, need uint64, input string,
) (com porep.Commitments, at paths.Path, err error) {
	h, err := j.besideOf(ctx, cache, need)
	if err != nil {
		return com, at, err
	}
	defer h.release()
	dir := paths.CacheDir(cache.FilePath(j.sector.ID, api.FileCache))
	record := filepath.Join(string(dir), sealedName)
	whole := loadFinished(record, input, &com) && exists(h.name) && j.proveSeal(ctx, pc1, com, h.name, dir) == nil
	if !whole {
		if com, err = j.replicate(ctx, pc1, dir, h.name); err == nil {
			err = saveFinished(record, input, com)
		}
	}
	if err != nil {
		return com, at, err
	}
	return com, h.at, j.publishMade(ctx, h.at, api.FileSealed)
}

func (j *job) besideOf(ctx context.Context, cache paths.Path, need uint64) (h home, err error) {
	if h, ok := j.begun(ctx, api.FileSealed, need, exists); ok {
		if err = j.own(h.name); err != nil {
			h.release()
		}
		return h, err
	}
	fits := cache.Meta.CanSeal && cache.Meta.Refuses(api.FileSealed, j.sector.ID.Miner) == ""
	if release, err := j.local.Reserve(ctx, cache.Meta.ID, need); err == nil && fits {
		h = home{at: cache, release: release}
	} else {
		if err == nil {
			release()
		}
		if h.at, h.release, err = j.room(ctx, paths.Want{What: "replica", Types: api.FileSealed, Need: need, Sealing: true}); err != nil {
			return h, err
		}
	}
	if h.name, err = h.at.MadePath(j.sector.ID, api.FileSealed); err == nil {
		err = j.own(h.name)
	}
	if err != nil {
		h.release()
	}
	return h, err
}

// replicate writes the replica under its temporary name, and the trees, and
// proves them. What an interrupted attempt wrote is kept as it is: the proofs go
// on behind the trees that prove to be whole, and write anew what is not below
// one.
func (j *job) replicate(ctx context.Context, pc1 porep.PreCommit1Out, dir paths.CacheDir, tmp string) (com porep.Commitments, err error) {
	data, err := j.sealedData(ctx, pc1)
	if err != nil {
		return com, err
	}
	defer data.Close()                                       // read only
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE, 0o644) // as all sector files
	if err != nil {
		return com, fmt.Errorf("create replica: %w", err)
	}
	com, err = j.seal2(ctx, pc1, data, f, dir)
	if err == nil {
		err = errors.Join(f.Sync(), paths.SyncDir(string(dir)))
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = j.proveSeal(ctx, pc1, com, tmp, dir)
	}
	return com, scrap(err, tmp)
}

// seal2 is the second phase, and for synthetic seal proofs what comes between it
// and the pre-commitment.
func (j *job) seal2(
	ctx context.Context, pc1 porep.PreCommit1Out, data io.ReaderAt, f *os.File, dir paths.CacheDir,
) (com porep.Commitments, err error) {
	if err := f.Truncate(int64(j.size)); err != nil {
		return com, fmt.Errorf("size replica: %w", err)
	}
	com, err = porep.PreCommit2(ctx, porep.PreCommit2Task{
		Sector:   j.porep(),
		PC1:      pc1,
		Unsealed: data,
		Sealed:   paths.AsFile(f),
		Cache:    dir,
	}, j.Set)
	if err != nil {
		return com, err
	}
	switch st, err := f.Stat(); {
	case err != nil:
		return com, fmt.Errorf("replica: %w", err)
	case st.Size() != int64(j.size):
		return com, fmt.Errorf("replica has %d bytes instead of %d", st.Size(), uint64(j.size))
	}
	if porep.Synthetic(j.sector.ProofType) {
		err = porep.Synthesize(ctx, porep.SynthesizeTask{
			Sector:      j.porep(),
			Ticket:      pc1.Ticket[:],
			Commitments: com,
			Sealed:      f,
			Cache:       dir,
		}, j.Set)
	}
	return com, err
}

// proveSeal makes the proof of the sector for a seed of its own, which is
// verified as it is made: replica, labels and trees belong together, and a seed
// of the chain will find the same.
func (j *job) proveSeal(ctx context.Context, pc1 porep.PreCommit1Out, com porep.Commitments, replica string, dir paths.CacheDir) error {
	j.Set("check", 0, 0)
	f, err := os.Open(replica) // a sector file
	if err != nil {
		return fmt.Errorf("open replica: %w", err)
	}
	defer f.Close() // read only
	seed := make([]byte, 32)
	if _, err := rand.Read(seed); err != nil {
		return fmt.Errorf("draw a seed: %w", err)
	}
	if bytes.Equal(seed, make([]byte, 32)) {
		seed[0] = 1 // the one seed that is refused
	}
	_, err = porep.Prove(ctx, j.porep(), porep.ProveRequest{Ticket: pc1.Ticket[:], Seed: seed, Commitments: com}, f, dir)
	return err
}
