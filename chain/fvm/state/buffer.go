package state

import (
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/util/adt"
	block "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	cbor "github.com/ipfs/go-ipld-cbor"

	"quarry/chain/fvm/links"
)

// Blockstore is the content-addressed store below a machine. Get returns an
// error for a missing block; the bytes it returns are not modified.
type Blockstore interface {
	Get(ctx context.Context, c cid.Cid) ([]byte, error)
	Put(ctx context.Context, c cid.Cid, data []byte) error
	Has(ctx context.Context, c cid.Cid) (bool, error)
}

// Buffer keeps every block written by a machine in memory and reads through to
// the store below. It belongs to one goroutine.
type Buffer struct {
	base   Blockstore
	blocks map[cid.Cid][]byte
}

// NewBuffer lays an empty buffer over base.
func NewBuffer(base Blockstore) *Buffer {
	return &Buffer{base: base, blocks: make(map[cid.Cid][]byte)}
}

// Get reads a block from the buffer or the store below.
func (b *Buffer) Get(ctx context.Context, c cid.Cid) ([]byte, error) {
	if data, ok := b.blocks[c]; ok {
		return data, nil
	}
	data, err := b.base.Get(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("read block %s: %w", c, err)
	}
	return data, nil
}

// Put keeps a block in memory; the caller answers for the CID.
func (b *Buffer) Put(_ context.Context, c cid.Cid, data []byte) error {
	b.blocks[c] = data
	return nil
}

// Has tells whether a block is in the buffer or below.
func (b *Buffer) Has(ctx context.Context, c cid.Cid) (bool, error) {
	if _, ok := b.blocks[c]; ok {
		return true, nil
	}
	return b.base.Has(ctx, c)
}

// PutRaw stores data under its blake2b-256 CID of the given codec.
func (b *Buffer) PutRaw(codec uint64, data []byte) (cid.Cid, error) {
	c, err := cid.Prefix{Version: 1, Codec: codec, MhType: links.Blake2b256, MhLength: 32}.Sum(data)
	if err != nil {
		return cid.Undef, fmt.Errorf("hash block of %d bytes: %w", len(data), err)
	}
	b.blocks[c] = data
	return c, nil
}

// IpldStore is the CBOR object store view used by HAMTs, AMTs and actor states.
func (b *Buffer) IpldStore() cbor.IpldStore {
	s := cbor.NewCborStore(ipldBlocks{b})
	s.DefaultMultihash = uint64(abi.HashFunction)
	return s
}

// ADT is the same view in the form of the actor data types.
func (b *Buffer) ADT(ctx context.Context) adt.Store { return adt.WrapStore(ctx, b.IpldStore()) }

type ipldBlocks struct{ b *Buffer }

func (s ipldBlocks) Get(ctx context.Context, c cid.Cid) (block.Block, error) {
	data, err := s.b.Get(ctx, c)
	if err != nil {
		return nil, err
	}
	return block.NewBlockWithCid(data, c)
}

func (s ipldBlocks) Put(ctx context.Context, blk block.Block) error {
	return s.b.Put(ctx, blk.Cid(), blk.RawData())
}

// maxFlushDepth bounds the path length of a state tree walked at flush; real
// trees stay below 40.
const maxFlushDepth = 1 << 10

// Flush copies the blocks reachable from root that are in the buffer to the
// store below, children first, so that an interrupted flush never leaves a
// root without its parts. Blocks that are not in the buffer are taken to be
// below already, with all they link to. Unreachable blocks are not copied.
func (b *Buffer) Flush(ctx context.Context, root cid.Cid) error {
	return b.flush(ctx, root, make(map[cid.Cid]struct{}), 0)
}

func (b *Buffer) flush(ctx context.Context, c cid.Cid, seen map[cid.Cid]struct{}, depth int) error {
	if depth > maxFlushDepth {
		return errors.New("flush: state tree is too deep")
	}
	if _, ok := seen[c]; ok {
		return nil
	}
	data, ok := b.blocks[c]
	if !ok {
		return nil
	}
	seen[c] = struct{}{}
	if c.Prefix().Codec == links.DagCBOR {
		kids, _, err := links.Scan(data)
		if err != nil {
			return fmt.Errorf("flush %s: %w", c, err)
		}
		for _, k := range kids {
			if err := b.flush(ctx, k, seen, depth+1); err != nil {
				return err
			}
		}
	}
	if err := b.base.Put(ctx, c, data); err != nil {
		return fmt.Errorf("flush block %s: %w", c, err)
	}
	return nil
}
