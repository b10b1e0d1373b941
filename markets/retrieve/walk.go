package retrieve

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"slices"

	"github.com/ipfs/go-cid"
	car "github.com/ipld/go-car/v2"
	"github.com/ipld/go-car/v2/storage"
	dagpb "github.com/ipld/go-codec-dagpb"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"github.com/ipld/go-ipld-prime/traversal"
	mh "github.com/multiformats/go-multihash"
	"github.com/multiformats/go-varint"
)

// streamDAG is a CARv1 of all blocks below root, depth first. The stream ends
// with an error when a block cannot be read. It walks with a list of its own, so
// that a chain of any length takes no stack; each CID is sent once unless dups.
func (b *blockstore) streamDAG(ctx context.Context, root cid.Cid, dups bool) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		_ = w.CloseWithError(b.walk(ctx, w, root, dups))
	}()
	return r
}

func (b *blockstore) walk(ctx context.Context, w io.Writer, root cid.Cid, dups bool) (err error) {
	defer func() { // codecs decode what strangers stored
		if p := recover(); p != nil {
			b.log.Error("a codec panicked on a stored block", "root", root, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("the DAG of %s cannot be walked", root)
		}
	}()
	out := bufio.NewWriterSize(w, 32<<10)
	if _, err := storage.NewWritable(out, []cid.Cid{root}, car.WriteAsCarV1(true)); err != nil {
		return err
	}
	seen := map[cid.Cid]struct{}{}
	for todo := []cid.Cid{root}; len(todo) > 0; {
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if _, ok := seen[c]; ok {
			continue
		}
		if !dups {
			seen[c] = struct{}{}
		}
		blk, err := b.Get(ctx, c)
		if err == nil {
			err = writeBlock(out, c, blk.RawData())
		}
		if err == nil {
			todo, err = appendLinks(todo, c, blk.RawData())
		}
		if err != nil {
			_ = out.Flush() // what is good is good
			return err
		}
	}
	return out.Flush()
}

// writeBlock writes a CAR section; identity blocks are in the CIDs that lead to
// them.
func writeBlock(w *bufio.Writer, c cid.Cid, data []byte) error {
	if c.Prefix().MhType == mh.IDENTITY {
		return nil
	}
	id := c.Bytes()
	_, _ = w.Write(varint.ToUvarint(uint64(len(id) + len(data)))) // the error stays with w
	_, _ = w.Write(id)
	_, err := w.Write(data)
	return err
}

// appendLinks adds the links of a block so that the first is taken from the end
// first.
func appendLinks(todo []cid.Cid, c cid.Cid, data []byte) ([]cid.Cid, error) {
	if c.Prefix().Codec == cid.Raw {
		return todo, nil
	}
	lsys := cidlink.DefaultLinkSystem()
	link := cidlink.Link{Cid: c}
	decode, err := lsys.DecoderChooser(link)
	if err != nil {
		return todo, fmt.Errorf("block %s: %w", c, err)
	}
	builder := basicnode.Prototype.Any.NewBuilder()
	if c.Prefix().Codec == cid.DagProtobuf {
		builder = dagpb.Type.PBNode.NewBuilder()
	}
	if err := decode(builder, bytes.NewReader(data)); err != nil {
		return todo, fmt.Errorf("decode block %s: %w", c, err)
	}
	links, err := traversal.SelectLinks(builder.Build())
	if err != nil {
		return todo, fmt.Errorf("links of block %s: %w", c, err)
	}
	for _, l := range slices.Backward(links) {
		if cl, ok := l.(cidlink.Link); ok {
			todo = append(todo, cl.Cid)
		}
	}
	return todo, nil
}
