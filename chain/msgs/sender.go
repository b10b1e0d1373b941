package msgs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/api"
)

// Chain is what the sender needs of a full node.
type Chain interface {
	MpoolPushMessage(ctx context.Context, msg *api.Message, spec *api.MessageSendSpec) (*api.SignedMessage, error)
	MpoolPush(ctx context.Context, msg *api.SignedMessage) (cid.Cid, error)
	StateSearchMsg(ctx context.Context, from api.TipSetKey, msg cid.Cid, lookback abi.ChainEpoch, allowReplaced bool) (*api.MsgLookup, error)
	StateWaitMsg(ctx context.Context, msg cid.Cid, confidence uint64, lookback abi.ChainEpoch, allowReplaced bool) (*api.MsgLookup, error)
}

// Config tunes a Sender.
type Config struct {
	// MaxFee is the most a message may pay in gas, in attoFIL; zero leaves it
	// to the node (lotus: 0.07 FIL).
	MaxFee abi.TokenAmount
	// Confidence is how many epochs a receipt must be old before Wait believes
	// it.
	Confidence uint64
}

// Deps are the collaborators of a Sender.
type Deps struct {
	Chain Chain
	Store datastore.Batching // prefixed for this sender alone
	Log   *slog.Logger       // nil discards
}

// Sender sends keyed messages. It runs nothing in the background and is safe
// for concurrent use.
type Sender struct {
	cfg  Config
	deps Deps

	mu    sync.Mutex
	locks map[string]*keyLock
}

type keyLock struct {
	sem  chan struct{}
	refs int
}

// New makes a sender over the store.
func New(cfg Config, deps Deps) *Sender {
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	cfg.MaxFee = orZero(cfg.MaxFee)
	return &Sender{cfg: cfg, deps: deps, locks: map[string]*keyLock{}}
}

// Send pushes the message under a key that the caller will use for this
// message alone, and returns its CID. Sending a key again returns the same
// CID without looking at m, also after a crash at any instant. An error means
// that nothing is known of the outcome: send the same key again. m must have
// no nonce; unset amounts count as zero and unset gas is estimated.
func (s *Sender) Send(ctx context.Context, key string, m *api.Message) (cid.Cid, error) {
	if key == "" || m == nil {
		return cid.Undef, &api.ErrInvalid{What: "message to send", Reason: "empty key or message"}
	}
	unlock, err := s.lock(ctx, key)
	if err != nil {
		return cid.Undef, err
	}
	defer unlock()
	r, found, err := s.load(ctx, key)
	if err != nil {
		return cid.Undef, err
	}
	if found && r.CID != nil {
		return *r.CID, nil
	}
	if !found {
		if r, err = s.intend(ctx, key); err != nil {
			return cid.Undef, err
		}
	}
	return s.push(ctx, r, m)
}

// intend writes down that key is about to be pushed, and under which id.
func (s *Sender) intend(ctx context.Context, key string) (record, error) {
	id, err := newUUID()
	if err != nil {
		return record{}, err
	}
	r := record{Key: key, UUID: id}
	return r, s.save(ctx, r)
}

func (s *Sender) push(ctx context.Context, r record, m *api.Message) (cid.Cid, error) {
	msg := *m
	if msg.Nonce != 0 {
		return cid.Undef, &api.ErrInvalid{What: "message to send", Reason: "it already has a nonce", Hint: "leave the nonce to the full node"}
	}
	msg.Value, msg.GasFeeCap, msg.GasPremium = orZero(m.Value), orZero(m.GasFeeCap), orZero(m.GasPremium)
	spec := &api.MessageSendSpec{MaxFee: s.cfg.MaxFee, MsgUuid: r.UUID}
	signed, err := s.deps.Chain.MpoolPushMessage(ctx, &msg, spec)
	if err != nil {
		return cid.Undef, fmt.Errorf("push message %q (method %d of %s): %w", r.Key, msg.Method, msg.To, err)
	}
	if signed == nil || signed.Message.To != msg.To || signed.Message.Method != msg.Method || !bytes.Equal(signed.Message.Params, msg.Params) {
		// The id was used with other parameters before a crash; the message on
		// its way is the first one, and the caller must know it by its CID.
		if signed == nil {
			return cid.Undef, errors.New("push message: the node answered nothing")
		}
		s.deps.Log.Warn("the node had made a different message for this key before", "key", r.Key, "cid", signed.Cid())
	}
	c := signed.Cid()
	r.CID = &c
	if r.Signed, err = signed.Serialize(); err != nil {
		return cid.Undef, fmt.Errorf("keep message %s: %w", c, err)
	}
	// Not bound to ctx: the message is out, so its CID has to be kept even if
	// the caller gives up now.
	if err := s.save(context.WithoutCancel(ctx), r); err != nil {
		return cid.Undef, err
	}
	s.deps.Log.Debug("message pushed", "key", r.Key, "cid", c, "method", msg.Method)
	return c, nil
}

// Sent tells which message a key was sent as; ok is false when the key is
// unknown or the node has not answered yet.
func (s *Sender) Sent(ctx context.Context, key string) (c cid.Cid, ok bool, err error) {
	r, found, err := s.load(ctx, key)
	if err != nil || !found || r.CID == nil {
		return cid.Undef, false, err
	}
	return *r.CID, true, nil
}

// lock takes the per-key lock.
func (s *Sender) lock(ctx context.Context, key string) (unlock func(), err error) {
	s.mu.Lock()
	l := s.locks[key]
	if l == nil {
		l = &keyLock{sem: make(chan struct{}, 1)}
		s.locks[key] = l
	}
	l.refs++
	s.mu.Unlock()
	drop := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if l.refs--; l.refs == 0 {
			delete(s.locks, key)
		}
	}
	select {
	case l.sem <- struct{}{}:
		return func() { <-l.sem; drop() }, nil
	case <-ctx.Done():
		drop()
		return nil, fmt.Errorf("wait to send %q: %w", key, ctx.Err())
	}
}

// Params encodes the parameters of a message.
func Params(v cbg.CBORMarshaler) ([]byte, error) {
	var buf bytes.Buffer
	if err := v.MarshalCBOR(&buf); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return buf.Bytes(), nil
}

func orZero(v abi.TokenAmount) abi.TokenAmount {
	if v.Int == nil {
		return big.Zero()
	}
	return v
}
