package msgs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"

	"quarry/api"
)

// record is what the disk knows of a key. CID is undefined until the node
// has answered.
type record struct {
	Key    string
	UUID   api.UUID
	CID    *cid.Cid `json:",omitempty"`
	Signed []byte   `json:",omitempty"` // CBOR, to push again after a node lost its pool
}

func keyOf(key string) datastore.Key {
	return datastore.NewKey("/key").ChildString(url.PathEscape(key))
}

func cidKey(c cid.Cid) datastore.Key { return datastore.NewKey("/cid").ChildString(c.String()) }

// load reads the record of a key; found is false for a key never used.
func (s *Sender) load(ctx context.Context, key string) (r record, found bool, err error) {
	b, err := s.deps.Store.Get(ctx, keyOf(key))
	if errors.Is(err, datastore.ErrNotFound) {
		return record{}, false, nil
	}
	if err != nil {
		return record{}, false, fmt.Errorf("read the send record of %q: %w", key, err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return record{}, false, fmt.Errorf("the send record of %q is damaged (restore the repo from a backup, or forget the key): %w", key, err)
	}
	return r, true, nil
}

// save writes the record and its index by CID, and does not return before
// both are on disk.
func (s *Sender) save(ctx context.Context, r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the send record of %q: %w", r.Key, err)
	}
	if r.CID != nil {
		if err := s.deps.Store.Put(ctx, cidKey(*r.CID), []byte(r.Key)); err != nil {
			return fmt.Errorf("write the send record of %q: %w", r.Key, err)
		}
	}
	if err := s.deps.Store.Put(ctx, keyOf(r.Key), b); err != nil {
		return fmt.Errorf("write the send record of %q: %w", r.Key, err)
	}
	if err := s.deps.Store.Sync(ctx, datastore.NewKey("/")); err != nil {
		return fmt.Errorf("flush the send record of %q: %w", r.Key, err)
	}
	return nil
}

// signed finds the bytes of a message this sender pushed, nil if unknown.
func (s *Sender) signed(ctx context.Context, c cid.Cid) (*api.SignedMessage, error) {
	key, err := s.deps.Store.Get(ctx, cidKey(c))
	if errors.Is(err, datastore.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up message %s: %w", c, err)
	}
	r, found, err := s.load(ctx, string(key))
	if err != nil || !found || len(r.Signed) == 0 {
		return nil, err
	}
	return api.DecodeSignedMessage(r.Signed)
}

// Forget drops everything known of a key. A later Send with the same key is a
// new message. Forgetting an unknown key is not an error.
func (s *Sender) Forget(ctx context.Context, key string) error {
	unlock, err := s.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	r, found, err := s.load(ctx, key)
	if found && r.CID != nil {
		if err := s.deps.Store.Delete(ctx, cidKey(*r.CID)); err != nil {
			return fmt.Errorf("forget message %s: %w", *r.CID, err)
		}
	} else if err != nil {
		s.deps.Log.Warn("forgetting a damaged send record", "key", key, "cause", err)
	}
	if err := s.deps.Store.Delete(ctx, keyOf(key)); err != nil {
		return fmt.Errorf("forget send key %q: %w", key, err)
	}
	return s.deps.Store.Sync(ctx, datastore.NewKey("/"))
}

func newUUID() (api.UUID, error) {
	u, err := uuid.NewRandom()
	if err != nil {
		return u, fmt.Errorf("draw a message id: %w", err)
	}
	return u, nil
}
