package msgs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"

	"quarry/api"
)

// record is what the disk knows of a key.
type record struct {
	Key     string
	UUID    api.UUID       // of a push whose answer is not noted yet, else nil
	Since   abi.ChainEpoch // head when UUID was drawn, -1 when unknown
	Want    *api.Message   `json:",omitempty"` // the call, without nonce and gas
	Sectors int            `json:",omitempty"` // the fee limit is that of a batch of so many
	Made    []made         `json:",omitempty"` // every message made for the key, oldest first
	Touched abi.ChainEpoch // head when the messages were last looked after

	// As earlier versions wrote it: one message.
	CID    *cid.Cid `json:",omitempty"`
	Signed []byte   `json:",omitempty"`
}

// made is a message that may be on chain or in a pool somewhere.
type made struct {
	CID    cid.Cid
	Signed []byte // CBOR
}

// unknownEpoch stands for a head that could not be asked for.
const unknownEpoch abi.ChainEpoch = -1

// open tells whether a push may have happened of which nothing is noted.
func (r record) open() bool { return r.UUID != uuid.Nil }

// last is the message on its way; ok is false before the first answer.
func (r record) last() (m made, ok bool) {
	if len(r.Made) == 0 {
		return made{}, false
	}
	return r.Made[len(r.Made)-1], true
}

func (r record) has(c cid.Cid) bool {
	for _, m := range r.Made {
		if m.CID == c {
			return true
		}
	}
	return false
}

// call is the caller's message as a new push needs it.
func call(m *api.Message) *api.Message {
	c := *m
	c.Value, c.GasFeeCap, c.GasPremium = orZero(m.Value), orZero(m.GasFeeCap), orZero(m.GasPremium)
	return &c
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
	if err = json.Unmarshal(b, &r); err == nil {
		err = r.upgrade()
	}
	if err != nil {
		return record{}, false,
			fmt.Errorf("the send record of %q is damaged (restore the repo from a backup, or forget the key): %w", key, err)
	}
	return r, true, nil
}

// upgrade turns the record of an earlier version into today's.
func (r *record) upgrade() error {
	if r.CID == nil {
		if r.Want == nil { // an intent without its message: the caller brings it
			r.Since = unknownEpoch
		}
		return nil
	}
	sm, err := api.DecodeSignedMessage(r.Signed)
	if err != nil {
		return err
	}
	want := sm.Message
	want.Nonce, want.GasLimit = 0, 0
	want.GasFeeCap, want.GasPremium = big.Zero(), big.Zero()
	r.Made, r.UUID, r.Want = []made{{*r.CID, r.Signed}}, uuid.Nil, call(&want)
	r.CID, r.Signed = nil, nil
	return nil
}

// save writes the index by CID, then the record, and does not return before
// both are on disk.
func (s *Sender) save(ctx context.Context, r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the send record of %q: %w", r.Key, err)
	}
	if m, ok := r.last(); ok {
		if err := s.deps.Store.Put(ctx, cidKey(m.CID), []byte(r.Key)); err != nil {
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

// keyFor finds the key that a message was made for; ok is false for messages
// of others and of forgotten keys.
func (s *Sender) keyFor(ctx context.Context, c cid.Cid) (key string, ok bool, err error) {
	b, err := s.deps.Store.Get(ctx, cidKey(c))
	if errors.Is(err, datastore.ErrNotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("look up message %s: %w", c, err)
	}
	return string(b), true, nil
}

// Forget drops everything known of a key. A later Send with the same key is a
// new message. Forgetting an unknown key is not an error.
func (s *Sender) Forget(ctx context.Context, key string) error {
	unlock, err := s.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	r, _, err := s.load(ctx, key)
	if err != nil {
		s.deps.Log.Warn("forgetting a damaged send record", "key", key, "cause", err)
	}
	for _, m := range r.Made {
		if err := s.deps.Store.Delete(ctx, cidKey(m.CID)); err != nil {
			return fmt.Errorf("forget message %s: %w", m.CID, err)
		}
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
