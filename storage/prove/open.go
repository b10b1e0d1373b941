package prove

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/proofs/merkle"
	"quarry/proofs/porep"
	"quarry/proofs/post"
)

// opened is a copy of a sector with its replica open.
type opened struct {
	post.SectorAccess
	p       *Prover
	copy    replica
	replica porep.File
	files   observed
}

func (o *opened) close() { _ = o.replica.Close() } // read only

// open opens one copy. The replica must have the size of the sector; the cache is
// opened file by file by those who read it.
func (p *Prover) open(ctx context.Context, s sector, c replica) (*opened, error) {
	size, err := s.info.SealProof.SectorSize()
	if err != nil {
		return nil, &api.ErrInvalid{What: fmt.Sprintf("seal proof type %d", s.info.SealProof), Reason: "it does not exist"}
	}
	o := &opened{p: p, copy: c, files: observed{failed: &atomic.Pointer[error]{}}}
	if c.sealed.dir != "" {
		o.replica, err = p.deps.FS.Open(c.sealed.name)
	} else {
		o.replica, err = p.deps.Remote.Open(ctx, c.sealed.name)
	}
	if err != nil {
		return nil, fmt.Errorf("open the replica of sector %s: %w: %w", api.SectorName(s.id), errRead, p.mounted(c.sealed, err))
	}
	if n, err := o.replica.Size(); err != nil || n != int64(size) { //nolint:gosec // sector sizes fit
		o.close()
		if err != nil {
			return nil, fmt.Errorf("length of the replica of sector %s: %w: %w", api.SectorName(s.id), errRead, err)
		}
		return nil, fmt.Errorf("%w: the replica of sector %s has %d bytes instead of %d", post.ErrDamaged, api.SectorName(s.id), n,
			uint64(size))
	}
	if c.cached.dir != "" {
		o.files.Files = p.deps.FS.Cache(c.cached.name)
	} else {
		o.files.Files = p.deps.Remote.Dir(ctx, c.cached.name)
	}
	o.SectorAccess = post.SectorAccess{
		Info:   s.info,
		Sealed: observedFile{o.replica, o.files.failed},
		Cache:  o.files,
	}
	if err := o.complete(s); err != nil {
		o.close()
		return nil, fmt.Errorf("sector %s: %w", api.SectorName(s.id), err)
	}
	return o, nil
}

// complete does what the proofs do not: it fills in a CommR that was not given, and
// looks at the file of the cache that they do without.
func (o *opened) complete(s sector) (err error) {
	if s.info.SealedCID == cid.Undef {
		if o.Info.SealedCID, err = recorded(o.files); err != nil {
			return o.blame(fmt.Errorf("%w: %w", post.ErrDamaged, err))
		}
	}
	if s.thorough {
		if err := porep.CheckTAux(s.info.SealProof, o.files); err != nil {
			return o.blame(fmt.Errorf("%w: %w", post.ErrDamaged, err))
		}
	}
	return nil
}

// recorded is the CommR that stands beside the data: H(CommC, CommRLast).
func recorded(cache porep.Files) (cid.Cid, error) {
	commC, commRLast, err := porep.ReadAux(cache)
	if err != nil {
		return cid.Undef, err
	}
	commR, err := merkle.HashNodes(commC, commRLast)
	if err != nil {
		return cid.Undef, fmt.Errorf("p_aux is damaged: %w", err)
	}
	return commcid.ReplicaCommitmentV1ToCID(commR[:])
}

// errRead says that the system, not the content, is why a file cannot be read.
var errRead = errors.New("the file cannot be read")

// blame says of an error of the proofs what the files said: they call everything
// damaged that they cannot read.
func (o *opened) blame(err error) error {
	if err == nil {
		return nil
	}
	if at := o.files.failed.Load(); at != nil {
		err = fmt.Errorf("%w: %w", errRead, *at)
	}
	return o.p.mounted(o.copy.cached, o.p.mounted(o.copy.sealed, err))
}

// print is what the copy looks like: places, names, sizes and times of its files,
// and the CommR they are to give.
func (o *opened) print(ctx context.Context) (string, error) {
	names, err := o.Cache.List()
	if err != nil {
		return "", err
	}
	slices.Sort(names)
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s %s\n", o.Info.SealedCID, o.copy.sealed.path, o.copy.cached.path)
	size, err := o.replica.Size()
	if err != nil {
		return "", err
	}
	if err := o.line(&b, o.copy.sealed, o.copy.sealed.name, size); err != nil {
		return "", err
	}
	for _, n := range names {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		size, err := sizeOf(o.Cache, n)
		if err != nil {
			return "", err
		}
		if err := o.line(&b, o.copy.cached, filepath.Join(o.copy.cached.name, n), size); err != nil {
			return "", err
		}
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:16]), nil
}

func sizeOf(files porep.Files, name string) (int64, error) {
	f, err := files.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // read only
	return f.Size()
}

// line writes one file; of remote ones the time is not known.
func (o *opened) line(b *strings.Builder, at place, name string, size int64) error {
	var when int64
	if at.dir != "" {
		st, err := o.p.deps.FS.Stat(name)
		if err != nil {
			return err
		}
		when = st.ModTime().UnixNano()
	}
	_, err := fmt.Fprintf(b, "%s %d %d\n", filepath.Base(name), size, when)
	return err
}

// observed is a cache that remembers the first failure of the system beneath it.
type observed struct {
	porep.Files
	failed *atomic.Pointer[error]
}

// Open opens a file that is observed too.
func (o observed) Open(name string) (porep.File, error) {
	f, err := o.Files.Open(name)
	if err != nil {
		remember(o.failed, err)
		return nil, err
	}
	return observedFile{f, o.failed}, nil
}

type observedFile struct {
	porep.File
	failed *atomic.Pointer[error]
}

// ReadAt remembers a failure. A file that ends too early is damaged, not unreadable.
func (f observedFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(b, off)
	if err != nil {
		remember(f.failed, err)
	}
	return n, err
}

func remember(at *atomic.Pointer[error], err error) {
	if !errors.Is(err, io.EOF) && !errors.Is(err, fs.ErrNotExist) {
		at.CompareAndSwap(nil, &err)
	}
}
