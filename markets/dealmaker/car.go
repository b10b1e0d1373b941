package dealmaker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/filecoin-project/go-state-types/abi"
	bs "github.com/ipfs/boxo/blockservice"
	chunker "github.com/ipfs/boxo/chunker"
	"github.com/ipfs/boxo/files"
	"github.com/ipfs/boxo/ipld/merkledag"
	unixfile "github.com/ipfs/boxo/ipld/unixfs/file"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	car "github.com/ipld/go-car/v2"
	"github.com/ipld/go-car/v2/blockstore"
	"github.com/multiformats/go-multihash"

	"quarry/internal/inputfile"
	"quarry/proofs/commp"
)

// chunkSize of files in bytes, the common choice for large files.
const chunkSize = 1 << 20

// CAR is a payload ready for a deal.
type CAR struct {
	Path      string
	Root      cid.Cid
	Size      uint64 // bytes of the CAR
	PieceCID  cid.Cid
	PieceSize abi.PaddedPieceSize
}

// Pack imports a regular file as UnixFS into a CARv1 at out, which must not
// exist, and commits to it. minPiece asks for a larger piece when needed.
func Pack(ctx context.Context, file, out string, minPiece abi.PaddedPieceSize) (*CAR, error) {
	if _, err := os.Stat(out); err == nil {
		return nil, fmt.Errorf("%s exists already; choose another output", out)
	}
	if _, err := inputfile.Check(file); err != nil { // before anything is made
		return nil, fmt.Errorf("pack: %w", err)
	}
	root, err := writeCAR(ctx, file, out)
	if err != nil {
		_ = os.Remove(out)
		return nil, fmt.Errorf("pack %s: %w", file, err)
	}
	c, err := Inspect(ctx, out, minPiece)
	if err != nil {
		return nil, err
	}
	c.Root = root
	return c, nil
}

func writeCAR(ctx context.Context, file, out string) (cid.Cid, error) {
	f, _, err := inputfile.Open(file)
	if err != nil {
		return cid.Undef, err
	}
	defer f.Close()
	builder := cid.V1Builder{Codec: cid.DagProtobuf, MhType: multihash.SHA2_256}
	// The root is known last; a CID of the same length keeps its place.
	placeholder, err := builder.Sum(nil)
	if err != nil {
		return cid.Undef, err
	}
	store, err := blockstore.OpenReadWrite(out, []cid.Cid{placeholder}, car.WriteAsCarV1(true))
	if err != nil {
		return cid.Undef, err
	}
	defer store.Discard()
	dag := merkledag.NewDAGService(bs.New(store, nil))
	params := helpers.DagBuilderParams{Maxlinks: helpers.DefaultLinksPerBlock, RawLeaves: true, CidBuilder: builder, Dagserv: dag}
	db, err := params.New(chunker.NewSizeSplitter(&ctxReader{ctx, f}, chunkSize))
	if err != nil {
		return cid.Undef, err
	}
	node, err := balanced.Layout(db)
	if err != nil {
		return cid.Undef, err
	}
	if err := store.Finalize(); err != nil {
		return cid.Undef, err
	}
	return node.Cid(), car.ReplaceRootsInFile(out, []cid.Cid{node.Cid()})
}

type ctxReader struct {
	ctx context.Context //nolint:containedctx // lives for one import
	r   io.Reader
}

func (c *ctxReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

// Inspect commits to a payload file as it is; Root is the CAR's first root, or
// undefined when the file is no CAR.
func Inspect(ctx context.Context, path string, minPiece abi.PaddedPieceSize) (*CAR, error) {
	f, st, err := inputfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size := max(commp.MinPaddedSize(uint64(st.Size())), minPiece)
	piece, err := commp.SumPadded(ctx, f, size)
	if err != nil {
		return nil, fmt.Errorf("commit to %s: %w", path, err)
	}
	out := &CAR{Path: path, Size: uint64(st.Size()), PieceCID: piece.CID, PieceSize: size}
	if r, err := car.OpenReader(path); err == nil {
		defer r.Close()
		if roots, err := r.Roots(); err == nil && len(roots) > 0 {
			out.Root = roots[0]
		}
	}
	return out, nil
}

// Unpack reads a CAR stream, verifies every block, and writes the UnixFS file
// or directory under root to out, which must not exist. It returns the bytes of
// the blocks. A missing block is an error and leaves nothing at out.
func Unpack(ctx context.Context, r io.Reader, root cid.Cid, out string, progress func(n int)) (uint64, error) {
	if _, err := os.Lstat(out); err == nil {
		return 0, fmt.Errorf("%s exists already; choose another output", out)
	}
	dir, err := os.MkdirTemp(filepath.Dir(out), ".retrieve-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	store, err := blockstore.OpenReadWrite(filepath.Join(dir, "blocks.car"), []cid.Cid{root})
	if err != nil {
		return 0, err
	}
	defer store.Discard()
	got, err := copyBlocks(ctx, r, store, progress)
	if err != nil {
		return got.bytes, lacking(ctx, root, got, err)
	}
	dag := merkledag.NewDAGService(bs.New(store, nil))
	if err := writeContent(ctx, dag, root, filepath.Join(dir, "out")); err != nil {
		if gap := missing(ctx, dag, root); gap != nil {
			err = lacking(ctx, root, got, gap)
		}
		return got.bytes, err
	}
	return got.bytes, os.Rename(filepath.Join(dir, "out"), out)
}

func writeContent(ctx context.Context, dag ipld.DAGService, root cid.Cid, out string) error {
	node, err := dag.Get(ctx, root)
	if err != nil {
		return fmt.Errorf("read the root %s: %w", root, err)
	}
	file, err := unixfile.NewUnixfsFile(ctx, dag, node)
	if err != nil {
		return fmt.Errorf("read %s as UnixFS: %w", root, err)
	}
	defer file.Close()
	if err := files.WriteTo(file, out); err != nil {
		return fmt.Errorf("write content of %s: %w", root, err)
	}
	return nil
}

// missing looks for the first block below root that dag lacks; nil when it has
// them all, or cannot tell.
func missing(ctx context.Context, dag ipld.DAGService, root cid.Cid) error {
	seen := cid.NewSet()
	err := merkledag.Walk(ctx, merkledag.GetLinksDirect(dag), root, seen.Visit)
	if !ipld.IsNotFound(err) {
		return nil
	}
	return err
}

// received is how much of an answer has come.
type received struct {
	blocks int
	bytes  uint64
}

// errWrongBytes says that a provider sent bytes that are not those of their CID.
var errWrongBytes = errors.New("the provider sent other bytes than their CID says")

// errNoCAR says that an answer is none from its first byte.
var errNoCAR = errors.New("the answer is not a CAR")

func copyBlocks(ctx context.Context, r io.Reader, store *blockstore.ReadWrite, progress func(n int)) (received, error) {
	var got received
	br, err := car.NewBlockReader(r, car.WithTrustedCAR(true)) // every block is hashed below
	if err != nil {
		return got, fmt.Errorf("%w: %w", errNoCAR, err)
	}
	for {
		blk, err := br.Next()
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, fmt.Errorf("read block after %d bytes: %w", got.bytes, err)
		}
		if sum, err := blk.Cid().Prefix().Sum(blk.RawData()); err != nil || !sum.Equals(blk.Cid()) {
			return got, fmt.Errorf("%w: block %s", errWrongBytes, blk.Cid())
		}
		if err := store.Put(ctx, blk); err != nil {
			return got, &storeError{err}
		}
		got.blocks++
		got.bytes += uint64(len(blk.RawData()))
		if progress != nil {
			progress(len(blk.RawData()))
		}
	}
}

// storeError is a trouble with our own disk.
type storeError struct{ err error }

func (e *storeError) Error() string { return "keep the blocks that came: " + e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }
