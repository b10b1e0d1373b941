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
	car "github.com/ipld/go-car/v2"
	"github.com/ipld/go-car/v2/blockstore"
	"github.com/multiformats/go-multihash"

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
	f, err := os.Open(file)
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
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
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
	total, err := copyBlocks(ctx, r, store, progress)
	if err != nil {
		return total, err
	}
	dag := merkledag.NewDAGService(bs.New(store, nil))
	node, err := dag.Get(ctx, root)
	if err != nil {
		return total, fmt.Errorf("the answer lacks the root %s: %w", root, err)
	}
	file, err := unixfile.NewUnixfsFile(ctx, dag, node)
	if err != nil {
		return total, fmt.Errorf("read %s as UnixFS: %w", root, err)
	}
	defer file.Close()
	tmp := filepath.Join(dir, "out")
	if err := files.WriteTo(file, tmp); err != nil {
		return total, fmt.Errorf("write content of %s: %w", root, err)
	}
	return total, os.Rename(tmp, out)
}

func copyBlocks(ctx context.Context, r io.Reader, store *blockstore.ReadWrite, progress func(n int)) (uint64, error) {
	br, err := car.NewBlockReader(r) // hashes every block
	if err != nil {
		return 0, fmt.Errorf("the answer is not a CAR: %w", err)
	}
	var total uint64
	for {
		blk, err := br.Next()
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, fmt.Errorf("read block after %d bytes: %w", total, err)
		}
		if err := store.Put(ctx, blk); err != nil {
			return total, err
		}
		total += uint64(len(blk.RawData()))
		if progress != nil {
			progress(len(blk.RawData()))
		}
	}
}
