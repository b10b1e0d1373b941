package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/proofs/commp"
	"quarry/proofs/porep"
	"quarry/storage/paths"
	"quarry/storage/unsealed"
)

// zeros is the unsealed file of a sector without data.
type zeros int64

func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(z) {
		return 0, io.EOF
	}
	n := min(int64(len(p)), int64(z)-off)
	clear(p[:n])
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

func (zeros) Close() error { return nil }

// sectorData opens the unsealed bytes; a sector of zeros only needs no file.
func (w *Worker) sectorData(ctx context.Context, s api.SectorRef, size abi.SectorSize, p *progress) (interface {
	io.ReaderAt
	io.Closer
}, error) {
	at, err := w.have(ctx, s.ID, api.FileUnsealed, size, p)
	var missing *api.ErrNotFound
	if errors.As(err, &missing) {
		return zeros(size), nil // the commitment of the pieces decides whether that is right
	}
	if err != nil {
		return nil, err
	}
	return unsealed.Open(at.FilePath(s.ID, api.FileUnsealed), size)
}

// checkPieces finds out, before hours of work, that data is missing.
func checkPieces(data io.ReaderAt, pieces []abi.PieceInfo) error {
	f, ok := data.(*unsealed.File)
	var off abi.PaddedPieceSize
	for _, p := range pieces {
		if err := p.Size.Validate(); err != nil {
			return &api.ErrInvalid{What: "piece " + p.PieceCID.String(), Reason: err.Error()}
		}
		off = align(off, p.Size)
		if !p.PieceCID.Equals(commp.ZeroPiece(p.Size)) {
			has := false
			if ok {
				var err error
				if has, err = f.Has(off, p.Size); err != nil {
					return err
				}
			}
			if !has {
				return &api.ErrNotFound{What: fmt.Sprintf("piece %s at %d in the unsealed file", p.PieceCID, off), Hint: "add the piece again"}
			}
		}
		off += p.Size
	}
	return nil
}

func (w *Worker) preCommit1(ctx context.Context, s api.SectorRef, size abi.SectorSize, a api.PreCommit1Params, p *progress) (out porep.PreCommit1Out, err error) {
	data, err := w.sectorData(ctx, s, size, p)
	if err != nil {
		return out, err
	}
	defer data.Close() //nolint:errcheck // read only
	if err := checkPieces(data, a.Pieces); err != nil {
		return out, err
	}
	w.sweep(ctx, s.ID)
	return w.layers(ctx, s, size, a, data, p)
}

// layers computes the layers under their temporary name and publishes them.
func (w *Worker) layers(ctx context.Context, s api.SectorRef, size abi.SectorSize, a api.PreCommit1Params, data io.ReaderAt, p *progress) (out porep.PreCommit1Out, err error) {
	at, dir, release, err := w.layersHome(s, size, a)
	if err != nil {
		return out, err
	}
	defer release()
	labels, err := w.labelOptions(ctx, s, p)
	if err != nil {
		return out, err
	}
	out, err = porep.PreCommit1With(ctx, porep.PreCommit1Task{Sector: porepSector(s), Ticket: a.Ticket, Pieces: a.Pieces,
		Unsealed: data, Cache: paths.CacheDir(dir)}, labels, p.set)
	if worthKeeping(ctx, err) {
		return out, err
	}
	if err == nil {
		err = errors.Join(paths.CacheDir(dir).Remove(inputName), paths.SyncDir(dir))
	}
	if err != nil {
		return out, errors.Join(paths.AsNoSpace(err, "cache of sector "+s.String(), paths.Need(api.FileCache, size, true)), os.RemoveAll(dir))
	}
	if err := w.publishMade(ctx, at, s.ID, api.FileCache); err != nil {
		return out, err
	}
	return out, w.only(ctx, at, s.ID, api.FileCache)
}

func (w *Worker) preCommit2(ctx context.Context, s api.SectorRef, size abi.SectorSize, a api.PreCommit2Params, p *progress) (api.PreCommit2Result, error) {
	none := api.PreCommit2Result{}
	pc1, err := opaque[porep.PreCommit1Out](a.PreCommit1Out.RawMessage)
	if err != nil {
		return none, err
	}
	data, err := w.sectorData(ctx, s, size, p)
	if err != nil {
		return none, err
	}
	defer data.Close() //nolint:errcheck // read only
	cache, err := w.have(ctx, s.ID, api.FileCache, size, p)
	if err != nil {
		return none, err
	}
	dir := paths.CacheDir(cache.FilePath(s.ID, api.FileCache))
	com, done, err := w.synthesized(ctx, s, size, pc1, dir, p)
	if err == nil && !done {
		com, err = w.replica(ctx, s, size, pc1, data, cache, p)
	}
	if err == nil && porep.Synthetic(s.ProofType) {
		err = porep.ClearCache(dir, s.ProofType) // the proof is made out of the file beside
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

// replica makes the replica and the trees, and publishes them.
func (w *Worker) replica(ctx context.Context, s api.SectorRef, size abi.SectorSize, pc1 porep.PreCommit1Out, data io.ReaderAt, cache paths.Path, p *progress) (none porep.Commitments, err error) {
	need := paths.Need(api.FileSealed, size, true)
	if porep.Synthetic(s.ProofType) {
		need += uint64(size) * 4 / 10 // 11 GB for 32 GiB
	}
	at, release, err := w.besideOf(s, cache, need)
	if err != nil {
		return none, err
	}
	defer release()
	com, err := w.replicate(ctx, s, size, pc1, data, cache, at, p)
	if err != nil {
		return none, paths.AsNoSpace(err, "replica of sector "+s.String(), need)
	}
	if err := errors.Join(w.publishMade(ctx, at, s.ID, api.FileSealed), w.declare(ctx, cache, s.ID, api.FileCache, false)); err != nil {
		return none, err
	}
	return com, errors.Join(w.only(ctx, at, s.ID, api.FileSealed), w.only(ctx, cache, s.ID, api.FileCache))
}

// besideOf reserves room for a replica where an earlier attempt at it lies, on
// the path where its cache is, or elsewhere when that is full.
func (w *Worker) besideOf(s api.SectorRef, cache paths.Path, need uint64) (paths.Path, func(), error) {
	if at, release, ok := w.begun(s.ID, api.FileSealed, need, func(name string) bool {
		_, err := os.Stat(name)
		return err == nil
	}); ok {
		return at, release, nil
	}
	if release, err := w.deps.Local.Reserve(cache.Meta.ID, need); err == nil && cache.Meta.CanSeal {
		return cache, release, nil
	} else if err == nil {
		release()
	}
	return w.deps.Local.Alloc("replica of sector "+s.String(), need, true)
}

// replicate writes the replica under its temporary name, and the trees. What an
// interrupted attempt wrote is kept as it is: the proofs go on behind the trees
// that prove to be whole, and write anew what is not below one.
func (w *Worker) replicate(ctx context.Context, s api.SectorRef, size abi.SectorSize, pc1 porep.PreCommit1Out, data io.ReaderAt, cache, at paths.Path, p *progress) (porep.Commitments, error) {
	tmp, err := at.MadePath(s.ID, api.FileSealed)
	if err != nil {
		return porep.Commitments{}, err
	}
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE, 0o644) //nolint:gosec // as all sector files
	if err != nil {
		return porep.Commitments{}, fmt.Errorf("create replica: %w", err)
	}
	dir := paths.CacheDir(cache.FilePath(s.ID, api.FileCache))
	com, err := seal2(ctx, s, size, pc1, data, f, dir, p)
	if err == nil {
		err = errors.Join(f.Sync(), paths.SyncDir(string(dir)))
	}
	if err = errors.Join(err, f.Close()); err != nil && !worthKeeping(ctx, err) {
		err = errors.Join(err, os.Remove(tmp))
	}
	return com, err
}

// seal2 is the second phase, and for synthetic seal proofs what comes between it
// and the pre-commitment.
func seal2(ctx context.Context, s api.SectorRef, size abi.SectorSize, pc1 porep.PreCommit1Out, data io.ReaderAt, f *os.File, dir paths.CacheDir, p *progress) (com porep.Commitments, err error) {
	if err := f.Truncate(int64(size)); err != nil { //nolint:gosec // sector sizes fit
		return com, fmt.Errorf("size replica: %w", err)
	}
	if com, err = porep.PreCommit2(ctx, porepSector(s), pc1, data, paths.AsFile(f), dir, p.set); err != nil {
		return com, err
	}
	switch st, err := f.Stat(); {
	case err != nil:
		return com, fmt.Errorf("replica: %w", err)
	case st.Size() != int64(size): //nolint:gosec // sector sizes fit
		return com, fmt.Errorf("replica has %d bytes instead of %d", st.Size(), uint64(size))
	}
	if porep.Synthetic(s.ProofType) {
		err = porep.Synthesize(ctx, porepSector(s), pc1.Ticket[:], com, f, dir, p.set)
	}
	return com, err
}

func (w *Worker) commit1(ctx context.Context, s api.SectorRef, size abi.SectorSize, a api.Commit1Params, p *progress) (api.Commit1Result, error) {
	com, err := opaque[porep.Commitments](a.Commitments.RawMessage)
	if err != nil {
		return api.Commit1Result{}, err
	}
	cache, err := w.have(ctx, s.ID, api.FileCache, size, p)
	if err != nil {
		return api.Commit1Result{}, err
	}
	f, err := w.openFile(ctx, s, api.FileSealed, size, p)
	if err != nil {
		return api.Commit1Result{}, err
	}
	defer f.Close() //nolint:errcheck // read only
	p.set("vanilla proof", 0, 0)
	blob, err := porep.Prove(ctx, porepSector(s), porep.ProveRequest{Ticket: a.Ticket, Seed: a.Seed, Commitments: com},
		f, paths.CacheDir(cache.FilePath(s.ID, api.FileCache)))
	if err != nil {
		return api.Commit1Result{}, err
	}
	ref, err := w.deps.Blobs.BlobPut(ctx, bytes.NewReader(blob))
	return api.Commit1Result{Vanilla: ref}, err
}

func (w *Worker) unseal(ctx context.Context, s api.SectorRef, size abi.SectorSize, a api.UnsealParams, p *progress) error {
	commD, err := cid.Parse(string(a.UnsealedCID))
	if err != nil {
		return &api.ErrInvalid{What: "unsealed CID " + string(a.UnsealedCID), Reason: err.Error()}
	}
	if a.Size == 0 || uint64(a.Offset) > uint64(size) || uint64(a.Size) > uint64(size)-uint64(a.Offset) {
		return &api.ErrInvalid{What: fmt.Sprintf("unsealed range %d+%d", a.Offset, a.Size), Reason: "it is outside the sector"}
	}
	home, release, err := w.unsealedHome(ctx, s, size, false, p)
	if err != nil {
		return err
	}
	defer release()
	f, err := unsealed.Create(home.FilePath(s.ID, api.FileUnsealed), size)
	if err != nil {
		return paths.AsNoSpace(err, "unsealed sector "+s.String(), uint64(size))
	}
	err = w.unsealInto(ctx, f, s, size, commD, a, p)
	if err = errors.Join(err, f.Close()); err != nil {
		return paths.AsNoSpace(err, "unsealed sector "+s.String(), uint64(size))
	}
	if err := w.declare(ctx, home, s.ID, api.FileUnsealed, false); err != nil {
		return err
	}
	return w.only(ctx, home, s.ID, api.FileUnsealed)
}

func (w *Worker) unsealInto(ctx context.Context, f *unsealed.File, s api.SectorRef, size abi.SectorSize, commD cid.Cid, a api.UnsealParams, p *progress) error {
	if ok, err := f.Has(a.Offset, a.Size); err != nil || ok {
		return err // done before
	}
	total := int64(a.Size)                                                                                         //nolint:gosec // inside the sector
	out := &countWriter{w: io.NewOffsetWriter(f, int64(a.Offset)), f: func(n int64) { p.set("unseal", n, total) }} //nolint:gosec // inside the sector
	p.set("unseal", 0, total)
	decode := w.unsealReplica
	if a.SectorKeyCID != "" {
		decode = w.unsealUpdate
	}
	if err := decode(ctx, s, size, commD, a, out, p); err != nil {
		return err
	}
	if out.n != total {
		return fmt.Errorf("unsealing gave %d of %d bytes", out.n, total)
	}
	return f.Mark(a.Offset, a.Size)
}

func (w *Worker) unsealReplica(ctx context.Context, s api.SectorRef, size abi.SectorSize, commD cid.Cid, a api.UnsealParams, out io.Writer, p *progress) error {
	sealed, err := w.openFile(ctx, s, api.FileSealed, size, p)
	if err != nil {
		return err
	}
	defer sealed.Close() //nolint:errcheck // read only
	labels, err := w.labelOptions(ctx, s, p)
	if err != nil {
		return err
	}
	return porep.UnsealWith(ctx, porepSector(s), a.Ticket, commD, sealed, out, a.Offset, a.Size, nil, labels, p.set)
}

type countWriter struct {
	w io.Writer
	n int64
	f func(int64)
}

func (c *countWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	c.f(c.n)
	return n, err
}
