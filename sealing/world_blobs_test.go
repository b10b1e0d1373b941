package sealing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"quarry/api"
)

// bulk holds the bulk results of all worlds: they are named by their content.
var bulk struct {
	sync.Mutex
	blobs map[api.BlobRef][]byte
}

func putBulk(b []byte) api.BlobRef {
	sum := sha256.Sum256(b)
	mh, err := multihash.Encode(sum[:], multihash.SHA2_256)
	if err != nil {
		panic(err)
	}
	ref := api.BlobRef{CID: api.CidString(cid.NewCidV1(cid.Raw, mh).String()), Size: int64(len(b))}
	bulk.Lock()
	defer bulk.Unlock()
	if bulk.blobs == nil {
		bulk.blobs = map[api.BlobRef][]byte{}
	}
	bulk.blobs[ref] = bytes.Clone(b)
	return ref
}

func getBulk(ref api.BlobRef) []byte {
	bulk.Lock()
	defer bulk.Unlock()
	return bulk.blobs[ref]
}

func (w *world) BlobOpen(ctx context.Context, ref api.BlobRef) (io.ReadCloser, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := getBulk(ref)
	if b == nil {
		return nil, &api.ErrNotFound{What: "bulk result " + string(ref.CID)}
	}
	return io.NopCloser(bytes.NewReader(b)), w.reach(ctx, "BlobOpen")
}
