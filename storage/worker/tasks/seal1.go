package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/internal/durable"
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

// sectorBytes are the bytes of a sector before it is sealed.
type sectorBytes interface {
	io.ReaderAt
	io.Closer
}

// sectorData opens the unsealed bytes; a sector of zeros only needs no file. The
// caller finds out whether it is one.
func (j *job) sectorData(ctx context.Context) (sectorBytes, error) {
	at, err := j.have(ctx, api.FileUnsealed)
	var missing *api.ErrNotFound
	if errors.As(err, &missing) {
		return zeros(j.size), nil
	}
	if err != nil {
		return nil, err
	}
	return unsealed.Open(at.FilePath(j.sector.ID, api.FileUnsealed), j.size)
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
				return &api.ErrNotFound{What: fmt.Sprintf("piece %s at %d in the unsealed file", p.PieceCID, off),
					Hint: "add the piece again"}
			}
		}
		off += p.Size
	}
	return nil
}

// Files in the cache directory from PC1 until PC2 is over: of what the layers are
// made, and what PC1 gave when they were whole.
const (
	inputName  = "pc1-input"
	outputName = "pc1-output"
)

func (j *job) preCommit1(ctx context.Context, a api.PreCommit1Params) (none api.PreCommit1Out, err error) {
	out, err := j.layers(ctx, a)
	if err != nil {
		return none, err
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return none, fmt.Errorf("encode what PC1 gives: %w", err)
	}
	return api.PreCommit1Out{RawMessage: raw}, nil
}

// layersInput is inputOf in the form that earlier versions wrote.
func (j *job) layersInput(a api.PreCommit1Params) (string, error) {
	b, err := json.Marshal(struct {
		Sector api.SectorRef
		Params api.PreCommit1Params
	}{j.sector, a})
	if err != nil {
		return "", fmt.Errorf("encode what PC1 starts from: %w", err)
	}
	return sumOf(b), nil
}

// layers makes the layers under a temporary name and publishes them. Whole ones
// of an earlier attempt whose report was lost are taken as they are, published or
// not.
func (j *job) layers(ctx context.Context, a api.PreCommit1Params) (out porep.PreCommit1Out, err error) {
	input, err := j.layersInput(a)
	if err != nil {
		return out, err
	}
	if at, ok := j.local.Find(ctx, j.sector.ID, api.FileCache); ok && j.wholeLayers(at.FilePath(j.sector.ID, api.FileCache), input, &out) {
		if err := j.declare(ctx, at, api.FileCache, false); err != nil {
			return out, err
		}
		return out, j.keepLayers(ctx, at, out)
	}
	h, err := j.layersHome(ctx, input)
	if err != nil {
		return out, err
	}
	defer h.release()
	if !j.wholeLayers(h.name, input, &out) {
		if out, err = j.computeLayers(ctx, h, a, input); err != nil {
			return out, err
		}
	}
	if err := j.publishMade(ctx, h.at, api.FileCache); err != nil {
		return out, err
	}
	return out, j.keepLayers(ctx, h.at, out)
}

// wholeLayers tells whether a directory has the layers of an input, and gives
// what PC1 said of them.
func (j *job) wholeLayers(dir, input string, out *porep.PreCommit1Out) bool {
	return loadFinished(filepath.Join(dir, outputName), input, out) && j.checkLayers(dir, *out) == nil
}

// checkLayers looks at the length of every file of PC1.
func (j *job) checkLayers(dir string, out porep.PreCommit1Out) error {
	for i := range out.Layers {
		name := filepath.Join(dir, fmt.Sprintf("sc-02-data-layer-%d.dat", i+1))
		st, err := os.Stat(name)
		if err != nil {
			return err
		}
		if st.Size() != int64(j.size) {
			return fmt.Errorf("%s has %d bytes instead of %d", name, st.Size(), uint64(j.size))
		}
	}
	_, err := os.Stat(filepath.Join(dir, "sc-02-data-tree-d.dat"))
	return err
}

func (j *job) keepLayers(ctx context.Context, at paths.Path, out porep.PreCommit1Out) error {
	return j.deleteOtherCopies(ctx, at, api.FileCache, func(context.Context) error {
		return j.checkLayers(at.FilePath(j.sector.ID, api.FileCache), out)
	})
}

func (j *job) computeLayers(ctx context.Context, h home, a api.PreCommit1Params, input string) (out porep.PreCommit1Out, err error) {
	data, err := j.sectorData(ctx)
	if err != nil {
		return out, err
	}
	defer data.Close() // read only
	if err := checkPieces(data, a.Pieces); err != nil {
		return out, err
	}
	return j.layersOf(ctx, h, data, a, input)
}

// layersOf computes the layers of data, and keeps what came out beside them.
func (j *job) layersOf(
	ctx context.Context, h home, data io.ReaderAt, a api.PreCommit1Params, input string,
) (out porep.PreCommit1Out, err error) {
	labels, err := j.labelOptions(ctx)
	if err != nil {
		return out, err
	}
	task := porep.PreCommit1Task{
		Sector:   j.porep(),
		Ticket:   a.Ticket,
		Pieces:   a.Pieces,
		Unsealed: data,
		Cache:    paths.CacheDir(h.name),
	}
	out, err = porep.PreCommit1(ctx, task, labels, j.Set)
	if err == nil {
		err = errors.Join(paths.SyncDir(h.name), saveFinished(filepath.Join(h.name, outputName), input, out))
	}
	return out, scrap(paths.AsNoSpace(err, j.name(api.FileCache), paths.Need(api.FileCache, j.size, true)), h.name)
}

// layersHome is where the layers of a sector are made: on with what an earlier
// attempt at the same left, or an empty directory.
func (j *job) layersHome(ctx context.Context, input string) (home, error) {
	need := paths.Need(api.FileCache, j.size, true)
	h, ok := j.begun(ctx, api.FileCache, need, func(name string) bool {
		got, err := os.ReadFile(filepath.Join(name, inputName)) // our own file
		return err == nil && string(got) == input
	})
	var err error
	if ok {
		if err = j.own(h.name); err != nil {
			h.release()
		}
		return h, err
	}
	if h.at, h.release, err = j.room(ctx, paths.Want{What: "cache", Types: api.FileCache, Need: need, Sealing: true}); err != nil {
		return home{}, err
	}
	if h.name, err = h.at.MadePath(j.sector.ID, api.FileCache); err == nil {
		err = errors.Join(j.own(h.name), os.RemoveAll(h.name), os.MkdirAll(h.name, 0o755)) // as all sector directories
	}
	if err == nil {
		err = durable.WriteFile(filepath.Join(h.name, inputName), []byte(input), 0o644)
	}
	if err != nil {
		h.release()
		return home{}, paths.AsNoSpace(err, j.name(api.FileCache), need)
	}
	return h, nil
}
