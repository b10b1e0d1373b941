package porep

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"sync"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/kernel"
	"quarry/proofs/merkle"
	"quarry/proofs/sdr"
)

// LabelOptions says how PreCommit1, PreCommit1Batch and Unseal compute labels,
// and tree-d. The zero value does for sectors up to 512 MiB.
type LabelOptions struct {
	// Parents gives the graph's parents, as an opened parent cache file does
	// (sdr.OpenParentFile over Graph(proof)). Nil computes them, which for 32
	// GiB sectors takes longer than the labels, once in every layer.
	Parents sdr.Parents
	// Memory is how many bytes to take at most, 0 for what PreCommit1Memory
	// says. Below that labels are read back from the layer files, which is slow.
	Memory int64
	// Kernel computes labels and hashes tree-d; what it lacks or refuses is done
	// on the CPU.
	Kernel kernel.Set
}

// PreCommit1Memory is how many bytes PreCommit1, a batch of sectors sectors, and
// Unseal take for labels without a limit: 2 GiB for one 512 MiB sector, 64 GiB for
// one of 32 GiB. Ask before starting.
func PreCommit1Memory(proof abi.RegisteredSealProof, sectors int) (uint64, error) {
	par, err := paramsFor(proof)
	if err != nil {
		return 0, err
	}
	if sectors < 1 || sectors > sdr.MaxBatch {
		return 0, fmt.Errorf("porep: a batch of %d sectors; want 1 to %d", sectors, sdr.MaxBatch)
	}
	return uint64(sdr.MemoryNeed(par.nodes, sectors)), nil
}

// LeastPreCommit1Memory is the smallest LabelOptions.Memory for a batch.
func LeastPreCommit1Memory(sectors int) int64 { return sdr.LeastMemory(sectors) }

// Graph is the graph of a seal proof. Every sector of that proof shares it, and
// so its parent cache file.
func Graph(proof abi.RegisteredSealProof) (*sdr.Graph, error) {
	par, err := paramsFor(proof)
	if err != nil {
		return nil, err
	}
	return par.graph()
}

// layerFiles are the layers of one sector in its cache directory. A layer counts
// as whole once a small file beside it says so, with the digest of the labels;
// work that was interrupted goes on behind the last whole layer.
type layerFiles struct {
	par   *params
	id    [32]byte // replica id
	cache Files
	last  bool // only the newest whole layer is kept

	mu     sync.RWMutex
	whole  int // layers 1 … whole are good (or only layer whole, if last)
	files  map[int]File
	digest hash.Hash // of the layer being written
}

func newLayerFiles(par *params, id [32]byte, cache Files, last bool) *layerFiles {
	return &layerFiles{
		par:   par,
		id:    id,
		cache: cache,
		last:  last,
		files: map[int]File{},
	}
}

// close closes what is open; layers that are not whole are worth nothing anyway.
func (l *layerFiles) close() {
	for _, f := range l.files {
		_ = f.Close()
	}
}

func wholeName(layer int) string { return layerName(layer) + markSuffix }

// markOf is the content of the file that says that a layer is whole: the replica
// id, the digest of the labels, and the digest of both.
func (l *layerFiles) markOf(digest []byte) []byte {
	b := append(l.id[:len(l.id):len(l.id)], digest...)
	check := sha256.Sum256(b)
	return append(b, check[:]...)
}

// WriteLabels implements sdr.Store.
func (l *layerFiles) WriteLabels(_, layer int, off int64, labels []byte) error {
	if layer <= l.whole {
		return nil // another sector of the batch is behind
	}
	if off == 0 {
		if err := l.begin(layer); err != nil {
			return err
		}
	}
	_, _ = l.digest.Write(labels) // a hash takes all
	if _, err := l.file(layer).WriteAt(labels, off); err != nil {
		return fmt.Errorf("writing %s: %w", layerName(layer), err)
	}
	return nil
}

func (l *layerFiles) file(layer int) File {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.files[layer]
}

func (l *layerFiles) begin(layer int) error {
	if err := l.cache.Remove(wholeName(layer)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing %s: %w", wholeName(layer), err)
	}
	f, err := l.cache.Create(layerName(layer), l.par.size())
	if err != nil {
		return fmt.Errorf("creating %s: %w", layerName(layer), err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.files[layer], l.digest = f, sha256.New()
	return nil
}

// FinishLayer implements sdr.Store.
func (l *layerFiles) FinishLayer(_, layer int) error {
	if layer <= l.whole {
		return nil
	}
	if err := l.file(layer).Sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", layerName(layer), err)
	}
	if err := writeFile(l.cache, wholeName(layer), l.markOf(l.digest.Sum(nil))); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.whole = layer
	if below := l.files[layer-1]; below != nil {
		delete(l.files, layer-1)
		if err := below.Close(); err != nil {
			return fmt.Errorf("closing %s: %w", layerName(layer-1), err)
		}
	}
	if l.last && layer > 1 {
		return l.remove(layer - 1)
	}
	return nil
}

// remove deletes a layer and what says that it is whole.
func (l *layerFiles) remove(layer int) error {
	for _, name := range []string{wholeName(layer), layerName(layer)} {
		if err := l.cache.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing %s: %w", name, err)
		}
	}
	return nil
}

// ReadLabels implements sdr.Store.
func (l *layerFiles) ReadLabels(_, layer int, off int64, labels []byte) error {
	f := l.file(layer)
	if f == nil {
		var err error
		if f, err = l.reopen(layer); err != nil {
			return err
		}
	}
	if err := merkle.ReadFullAt(f, labels, off); err != nil {
		return fmt.Errorf("reading %s: %w", layerName(layer), err)
	}
	return nil
}

func (l *layerFiles) reopen(layer int) (File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.files[layer]; f != nil {
		return f, nil
	}
	f, err := openSized(l.cache, layerName(layer), l.par.size())
	if err == nil {
		l.files[layer] = f
	}
	return f, err
}

// find looks for whole layers that an interrupted run left. It reads them, so
// that nothing torn is believed.
func (l *layerFiles) find(ctx context.Context) error {
	if l.last {
		return l.findLast(ctx)
	}
	for layer := 1; layer <= l.par.layers; layer++ {
		if ok, err := l.isWhole(ctx, layer); !ok {
			return err
		}
		l.whole = layer
	}
	return nil
}

// findLast looks for the newest whole layer and removes those below it.
func (l *layerFiles) findLast(ctx context.Context) error {
	for layer := l.par.layers; layer >= 1; layer-- {
		if l.whole > 0 {
			if err := l.remove(layer); err != nil {
				return err
			}
		} else if ok, err := l.isWhole(ctx, layer); err != nil {
			return err
		} else if ok {
			l.whole = layer
		}
	}
	return nil
}

// isWhole is whether a layer is there and as it was written. Files that cannot
// be read are not.
func (l *layerFiles) isWhole(ctx context.Context, layer int) (bool, error) {
	m, err := openSized(l.cache, wholeName(layer), 3*sha256.Size)
	if err != nil {
		return false, ctx.Err()
	}
	defer closeAll([]File{m})
	said := make([]byte, 3*sha256.Size)
	if merkle.ReadFullAt(m, said, 0) != nil {
		return false, ctx.Err()
	}
	f, err := openSized(l.cache, layerName(layer), l.par.size())
	if err != nil {
		return false, ctx.Err()
	}
	defer closeAll([]File{f})
	h, size := sha256.New(), l.par.size()
	buf := make([]byte, min(size, 1<<20))
	for off := int64(0); off < size; off += int64(len(buf)) {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if merkle.ReadFullAt(f, buf, off) != nil {
			return false, nil
		}
		_, _ = h.Write(buf) // a hash takes all
	}
	return string(said) == string(l.markOf(h.Sum(nil))), nil
}

// forget drops that layers are whole: the files that say so are no part of a
// sealed sector.
func (l *layerFiles) forget() error {
	for layer := 1; layer <= l.par.layers; layer++ {
		if err := l.cache.Remove(wholeName(layer)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing %s: %w", wholeName(layer), err)
		}
	}
	return nil
}

// layerStores makes one sdr.Store of the files of several sectors.
type layerStores []*layerFiles

func (s layerStores) WriteLabels(sector, layer int, off int64, labels []byte) error {
	return s[sector].WriteLabels(sector, layer, off, labels)
}

func (s layerStores) FinishLayer(sector, layer int) error {
	return s[sector].FinishLayer(sector, layer)
}

func (s layerStores) ReadLabels(sector, layer int, off int64, labels []byte) error {
	return s[sector].ReadLabels(sector, layer, off, labels)
}

// label computes the layers that the stores lack.
func (par *params) label(ctx context.Context, stores layerStores, o LabelOptions, p Progress) error {
	g, err := par.graph()
	if err != nil {
		return err
	}
	ids, whole := make([]sdr.Node, 0, len(stores)), par.layers
	for _, s := range stores {
		if err := s.find(ctx); err != nil {
			return err
		}
		ids, whole = append(ids, s.id), min(whole, s.whole)
	}
	if whole == par.layers {
		return nil
	}
	total := int64(par.nodes) * int64(par.layers)
	return sdr.GenerateLayersBatch(ctx, sdr.Batch{
		Graph:    g,
		Parents:  o.Parents,
		Replicas: ids,
		Layers:   par.layers,
		First:    whole + 1,
		Memory:   o.Memory,
		Kernel:   o.Kernel.Labels,
		Done:     func(n uint64) { p.report(StageLabels, int64(n), total) },
	}, stores)
}
