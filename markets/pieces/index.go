package pieces

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	mh "github.com/multiformats/go-multihash"

	"quarry/api"
)

// batchBlocks is how many index entries go into one datastore batch.
const batchBlocks = 4096

// Index records the blocks of a payload whose bytes hash to their CID. A payload
// that is no CAR, or one that is not whole, is noted in the record and is not an
// error; what is good of it is indexed. An error means that the payload could not
// be read or the index not be written. Indexing again is harmless, and takes out
// what is no longer right.
func (s *Store) Index(ctx context.Context, piece cid.Cid, r io.ReaderAt, size uint64) error {
	w := &indexer{ctx: ctx, ds: s.ds, piece: piece.String(), r: r}
	flaws, err := scanCAR(ctx, r, size, w.add)
	if err != nil {
		return fmt.Errorf("index piece %s: %w", piece, err)
	}
	if err := w.flush(); err != nil {
		return fmt.Errorf("write block index of piece %s: %w", piece, err)
	}
	if err := s.ds.Sync(ctx, datastore.NewKey("/block")); err != nil {
		return fmt.Errorf("sync block index of piece %s: %w", piece, err)
	}
	if err := s.setTrust(ctx, piece, w.wrong == 0); err != nil {
		return err
	}
	flaws.list = append(flaws.list, w.flaws.list...)
	return s.Update(ctx, piece, func(rec *api.PieceRecord) {
		rec.Blocks, rec.IndexErr, rec.Wrong = w.blocks, flaws.Error(), 0
	})
}

type indexer struct {
	ctx    context.Context //nolint:containedctx // lives for one call of Index
	ds     datastore.Batching
	r      io.ReaderAt
	piece  string
	buf    []byte
	queue  map[datastore.Key][]byte // entries not written yet
	drop   []datastore.Key          // of earlier runs, to be taken out
	blocks int
	wrong  int
	flaws  Flaws
}

// add checks a block and queues its entry. The bytes are read again, as the
// scanner steps over them.
func (w *indexer) add(b Block) error {
	if identity(b.Cid) {
		if err := Served(b.Cid); err != nil {
			w.flaws.add(b.Offset, "identity CID of more than %d bytes", MaxIdentity)
		}
		return nil
	}
	if Served(b.Cid) != nil {
		w.flaws.add(b.Offset, "hash %s is not served", hashName(b.Cid))
		return nil
	}
	if uint64(cap(w.buf)) < b.Length {
		w.buf = make([]byte, b.Length)
	}
	data := w.buf[:b.Length]
	if n, err := w.r.ReadAt(data, int64(b.Offset)); n < len(data) {
		return fmt.Errorf("read %d bytes at %d: %w", b.Length, b.Offset, err)
	}
	key := entryKey(b.Cid.Hash(), w.piece)
	val := encodePlace(b.Offset, b.Length)
	if !Matches(b.Cid, data) {
		w.wrong++
		w.flaws.add(b.Offset, "block whose bytes are not those of its CID")
		return w.forget(key, val)
	}
	return w.put(key, val)
}

func (w *indexer) put(key datastore.Key, val []byte) error {
	w.blocks++
	if _, ok := w.queue[key]; ok {
		return nil // the first place will do
	}
	if w.queue == nil {
		w.queue = make(map[datastore.Key][]byte, batchBlocks)
	}
	if w.queue[key] = val; len(w.queue) < batchBlocks {
		return nil
	}
	return w.flush()
}

// forget takes an earlier entry out that leads to bytes found wrong now.
func (w *indexer) forget(key datastore.Key, val []byte) error {
	old, err := w.ds.Get(w.ctx, key)
	if errors.Is(err, datastore.ErrNotFound) || err == nil && !bytes.Equal(old, val) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up an earlier index entry: %w", err)
	}
	if w.drop = append(w.drop, key); len(w.drop) < batchBlocks {
		return nil
	}
	return w.flush()
}

// flush takes out first and writes after: a right place found later wins.
func (w *indexer) flush() error {
	b, err := w.ds.Batch(w.ctx)
	if err != nil {
		return err
	}
	for _, key := range w.drop {
		if _, ok := w.queue[key]; ok {
			continue
		}
		if err := b.Delete(w.ctx, key); err != nil {
			return err
		}
	}
	for key, val := range w.queue {
		if err := b.Put(w.ctx, key, val); err != nil {
			return err
		}
	}
	clear(w.queue)
	w.drop = w.drop[:0]
	return b.Commit(w.ctx)
}

func entryKey(h mh.Multihash, piece string) datastore.Key {
	return datastore.NewKey(blockPrefix(h) + "/" + piece)
}

// encodePlace is the value of an index entry.
func encodePlace(offset, length uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, offset), length)
}

func decodePlace(b []byte) (offset, length uint64, ok bool) {
	offset, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, 0, false
	}
	length, m := binary.Uvarint(b[n:])
	return offset, length, m > 0
}
