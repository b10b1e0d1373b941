package msgs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/api"
)

// Chain is what the sender needs of a full node.
type Chain interface {
	ChainHead(ctx context.Context) (*api.TipSet, error)
	ChainGetTipSetByHeight(ctx context.Context, epoch abi.ChainEpoch, tsk api.TipSetKey) (*api.TipSet, error)
	ChainGetMessagesInTipset(ctx context.Context, tsk api.TipSetKey) ([]api.CidMessage, error)
	StateGetActor(ctx context.Context, a address.Address, tsk api.TipSetKey) (*api.Actor, error)
	StateAccountKey(ctx context.Context, a address.Address, tsk api.TipSetKey) (address.Address, error)
	StateSearchMsg(ctx context.Context, from api.TipSetKey, msg cid.Cid, lookback abi.ChainEpoch,
		allowReplaced bool) (*api.MsgLookup, error)
	StateWaitMsg(ctx context.Context, msg cid.Cid, confidence uint64, lookback abi.ChainEpoch, allowReplaced bool) (*api.MsgLookup, error)
	GasEstimateMessageGas(ctx context.Context, msg *api.Message, spec *api.MessageSendSpec, tsk api.TipSetKey) (*api.Message, error)
	MpoolPushMessage(ctx context.Context, msg *api.Message, spec *api.MessageSendSpec) (*api.SignedMessage, error)
	MpoolPush(ctx context.Context, msg *api.SignedMessage) (cid.Cid, error)
	MpoolPending(ctx context.Context, tsk api.TipSetKey) ([]*api.SignedMessage, error)
	WalletSignMessage(ctx context.Context, a address.Address, msg *api.Message) (*api.SignedMessage, error)
}

// Heads is the clock. WaitHeight returns when the head is at h or above.
type Heads interface {
	WaitHeight(ctx context.Context, h abi.ChainEpoch) (*api.TipSet, error)
}

// Config tunes a Sender.
type Config struct {
	// MaxFee is the most a message may pay in gas, attoFIL, replacements included;
	// zero leaves it to the node (lotus: 0.07 FIL).
	MaxFee abi.TokenAmount
	// BatchFee is the same for messages sent by Batch.
	BatchFee Fee
	// Limit names the setting behind MaxFee, for who has to raise it.
	Limit string
	// BatchLimit names the setting behind BatchFee.
	BatchLimit string
	// Confidence is how many epochs a receipt must be old before Wait believes
	// it, and how long ago a nonce must have gone to another message before one is
	// sent again.
	Confidence uint64
	// StuckEpochs is how long a message may be on its way before it is looked
	// after, and how long between two replacements; zero: 10.
	StuckEpochs abi.ChainEpoch
}

const defaultStuckEpochs abi.ChainEpoch = 10

// Deps are the collaborators of a Sender.
type Deps struct {
	Chain Chain
	Heads Heads              // nil: the chain is asked every few seconds
	Store datastore.Batching // prefixed for this sender alone
	Log   *slog.Logger       // nil discards
}

// Sender sends keyed messages. It runs nothing in the background and is safe
// for concurrent use.
type Sender struct {
	cfg  Config
	deps Deps
	pool poolView

	mu      sync.Mutex
	locks   map[string]*keyLock
	waiting map[string]Status
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
	if deps.Heads == nil {
		deps.Heads = poller{deps.Chain}
	}
	if cfg.StuckEpochs <= 0 {
		cfg.StuckEpochs = defaultStuckEpochs
	}
	cfg.MaxFee = orZero(cfg.MaxFee)
	return &Sender{cfg: cfg, deps: deps, locks: map[string]*keyLock{}, waiting: map[string]Status{}}
}

// Batch sends messages of several sectors, under Config.BatchFee.
type Batch struct {
	s       *Sender
	sectors int
}

// Batch gives the sender for a message of so many sectors.
func (s *Sender) Batch(sectors int) Batch { return Batch{s, sectors} }

// Send is Sender.Send under the batch's limit.
func (b Batch) Send(ctx context.Context, key string, m *api.Message) (cid.Cid, error) {
	return b.s.send(ctx, key, m, b.sectors)
}

// Wait is Sender.Wait.
func (b Batch) Wait(ctx context.Context, c cid.Cid) (*api.MsgLookup, error) { return b.s.Wait(ctx, c) }

// Send pushes the message under a key that the caller will use for this
// message alone, and returns its CID. Sending a key again returns the CID of
// the message on its way without looking at m, also after a crash at any
// instant. An error means that nothing is known of the outcome: send the same
// key again. With ErrRefused the node tried the message and it failed; nothing
// is on its way. A sender without funds is an api.ErrBusy. m must have no nonce;
// unset amounts count as zero and gas is estimated.
func (s *Sender) Send(ctx context.Context, key string, m *api.Message) (cid.Cid, error) {
	return s.send(ctx, key, m, 0)
}

func (s *Sender) send(ctx context.Context, key string, m *api.Message, sectors int) (cid.Cid, error) {
	if key == "" || m == nil {
		return cid.Undef, &api.ErrInvalid{What: "message to send", Reason: "empty key or message"}
	}
	if m.Nonce != 0 {
		return cid.Undef, &api.ErrInvalid{What: "message to send", Reason: "it already has a nonce",
			Hint: "leave the nonce to the full node"}
	}
	unlock, err := s.lock(ctx, key)
	if err != nil {
		return cid.Undef, err
	}
	defer unlock()
	r, _, err := s.load(ctx, key)
	if err != nil {
		return cid.Undef, err
	}
	switch on, ok := r.last(); {
	case ok && !r.open():
		return on.CID, nil
	case ok:
		r, err = s.resume(ctx, r)
	case r.open(): // nothing was acknowledged: the caller's latest word counts
		r.Want, r.Sectors = call(m), sectors
		r, err = s.resume(ctx, r)
	default:
		r, err = s.start(ctx, record{Key: key, Want: call(m), Sectors: sectors})
	}
	if err != nil {
		return cid.Undef, err
	}
	on, _ := r.last()
	return on.CID, nil
}

// start makes a new message for the record's call. What the node says no to was
// not sent, and the next try is a new one.
func (s *Sender) start(ctx context.Context, r record) (record, error) {
	r, err := s.intend(ctx, r)
	if err != nil {
		return r, err
	}
	next, err := s.push(ctx, r)
	if err != nil && notSent(err) {
		r.UUID = uuid.Nil
		return r, errors.Join(err, s.save(context.WithoutCancel(ctx), r))
	}
	return next, err
}

// intend writes down that the record's call is about to be pushed, under which
// id, and since when it may be on chain.
func (s *Sender) intend(ctx context.Context, r record) (record, error) {
	id, err := newUUID()
	if err != nil {
		return r, err
	}
	head, err := s.deps.Chain.ChainHead(ctx)
	if err != nil {
		return r, fmt.Errorf("send %q: ask for the head: %w", r.Key, err)
	}
	r.UUID, r.Since = id, head.Height
	return r, s.save(ctx, r)
}

// resume finishes a push of which nothing is noted: the message may exist.
func (s *Sender) resume(ctx context.Context, r record) (record, error) {
	sm, err := s.twin(ctx, r)
	if err != nil {
		return r, err
	}
	if sm != nil {
		s.deps.Log.Info("a message pushed earlier is found again", "key", r.Key, "cid", sm.CID)
		return s.note(ctx, r, *sm)
	}
	return s.push(ctx, r)
}

// push asks the node to make and send the message, under the record's id.
func (s *Sender) push(ctx context.Context, r record) (record, error) {
	want := *r.Want
	spec := &api.MessageSendSpec{MaxFee: s.limit(r), MsgUuid: r.UUID}
	signed, err := s.deps.Chain.MpoolPushMessage(ctx, &want, spec)
	s.pool.forget()
	if err == nil && signed == nil {
		err = &api.ErrUnreachable{Peer: "the full node", Reason: "it answered nothing"}
	}
	if err != nil {
		return r, s.pushError(r, err)
	}
	if !sameCall(&signed.Message, &want) {
		// The id was used with other parameters before a crash; the message on
		// its way is the first one, and the caller must know it by its CID.
		s.deps.Log.Warn("the node had made a different message for this key before", "key", r.Key, "cid", signed.Cid())
	}
	raw, err := signed.Serialize()
	if err != nil {
		return r, fmt.Errorf("keep message %s: %w", signed.Cid(), err)
	}
	s.deps.Log.Debug("message pushed", "key", r.Key, "cid", signed.Cid(), "nonce", signed.Message.Nonce, "method", want.Method)
	return s.note(ctx, r, made{signed.Cid(), raw})
}

// note closes an intent with the message that came of it.
func (s *Sender) note(ctx context.Context, r record, m made) (record, error) {
	r.Made, r.UUID, r.Touched = append(r.Made, m), uuid.Nil, r.Since
	// Not bound to ctx: the message is out, so its CID has to be kept even if
	// the caller gives up now.
	return r, s.save(context.WithoutCancel(ctx), r)
}

// sameCall compares what two messages do, whatever their nonces and fees, and
// whichever form the sender's address has.
func sameCall(a, b *api.Message) bool {
	return a.To == b.To && a.Method == b.Method && bytes.Equal(a.Params, b.Params) && orZero(a.Value).Equals(orZero(b.Value))
}

// Sent tells which message a key was sent as; ok is false when the key is
// unknown or the node has not answered yet.
func (s *Sender) Sent(ctx context.Context, key string) (c cid.Cid, ok bool, err error) {
	r, found, err := s.load(ctx, key)
	if err != nil || !found {
		return cid.Undef, false, err
	}
	m, ok := r.last()
	return m.CID, ok, nil
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
