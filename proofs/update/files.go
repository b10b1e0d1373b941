package update

import (
	"errors"
	"fmt"
	"io"
	"reflect"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/merkle"
	"quarry/proofs/porep"
)

// ErrFiles is the cause of every refusal of the files given: one of another size
// than the sector, or one that is given twice, so that writing would destroy what
// is still to be read.
var ErrFiles = errors.New("the files given cannot be used")

// checkFiles refuses files before anything is written: in and data must have the
// size of the sector, where they tell theirs, and out and outCache must be others.
func (par *params) checkFiles(in Replica, data io.ReaderAt, out porep.File, outCache porep.Files, what string) error {
	if in.Sealed == nil || in.Cache == nil || data == nil || out == nil || outCache == nil {
		return fmt.Errorf("%w: one is missing", ErrFiles)
	}
	for _, f := range []struct {
		what string
		r    io.ReaderAt
	}{{what, in.Sealed}, {"data", data}} {
		size, known, err := sizeOf(f.r)
		if err != nil {
			return fmt.Errorf("size of the %s: %w", f.what, err)
		}
		if known && size != int64(par.size()) {
			return fmt.Errorf("%w: the %s has %d bytes, the sector %d", ErrFiles, f.what, size, par.size())
		}
		if same(f.r, out) {
			return fmt.Errorf("%w: the %s is also where the result would go", ErrFiles, f.what)
		}
	}
	if same(in.Sealed, data) {
		return fmt.Errorf("%w: the %s is also given as data", ErrFiles, what)
	}
	if same(in.Cache, outCache) {
		return fmt.Errorf("%w: the cache of the %s is also where the new one would go", ErrFiles, what)
	}
	return nil
}

// sizeOf asks a reader that knows its size: a porep.File, a bytes.Reader, an
// io.SectionReader.
func sizeOf(r io.ReaderAt) (size int64, known bool, err error) {
	switch f := r.(type) {
	case interface{ Size() (int64, error) }:
		size, err = f.Size()
		return size, true, err
	case interface{ Size() int64 }:
		return f.Size(), true, nil
	}
	return 0, false, nil
}

// same finds two names for one file: the same value, or files of one path.
func same(a, b any) bool {
	if a != nil && reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a == b {
		return true
	}
	x, ok1 := a.(interface{ Name() string })
	y, ok2 := b.(interface{ Name() string })
	return ok1 && ok2 && x.Name() != "" && x.Name() == y.Name()
}

// Memory is what Encode and RegenerateKey need at most with workers running at
// once (as many as GOMAXPROCS), in bytes: about 3 MiB each, whatever the size.
func Memory(proof abi.RegisteredUpdateProof, workers int) (uint64, error) {
	par, err := paramsFor(proof)
	if err != nil {
		return 0, err
	}
	chunk := merkle.Builder{}.Chunk(par.shape.BaseLeaves())
	// A chunk and the rows over it as elements, a chunk as bytes, and the room for mixing; a quarter more,
	// because the garbage of reading is collected late.
	worker := merkle.NodeSize * (chunk*8/7 + chunk + 2*batchNodes)
	tops := par.shape.BaseLeaves() / chunk * merkle.NodeSize
	return uint64(max(1, workers))*worker*5/4 + 2*tops + 4<<20, nil
}

// ProveMemory is what Prove and Verify need: the proof, once taken apart and once
// as bytes.
func ProveMemory(proof abi.RegisteredUpdateProof) (uint64, error) {
	par, err := paramsFor(proof)
	if err != nil {
		return 0, err
	}
	return uint64(par.partitions*par.partitionSize())*5/2 + 1<<20, nil
}
