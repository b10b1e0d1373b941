package devnet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"

	"quarry/api"
)

// fundsConfidence is how deep a message for an escrow must lie before the next is
// made (lotus build MessageConfidence).
const fundsConfidence = 5

// fundsChain is what keeping reservations needs of the node.
type fundsChain interface {
	StateLookupID(ctx context.Context, a address.Address, tsk api.TipSetKey) (address.Address, error)
	StateMarketBalance(ctx context.Context, a address.Address, tsk api.TipSetKey) (api.MarketBalance, error)
	StateWaitMsg(ctx context.Context, msg cid.Cid, confidence uint64, lookback abi.ChainEpoch, allowReplaced bool) (*api.MsgLookup, error)
	MpoolPushMessage(ctx context.Context, msg *api.Message, spec *api.MessageSendSpec) (*api.SignedMessage, error)
	byUUID(ctx context.Context, id uuid.UUID) (*api.SignedMessage, error)
}

// funds keeps what callers have reserved of escrows at the market actor, by
// address (lotus chain/market). Of one address only one message is on its way at a
// time, so that what is available is known before the next.
type funds struct {
	chain fundsChain
	ds    datastore.Batching
	lock  chan struct{} // held while records are read and changed
}

func newFunds(c fundsChain, ds datastore.Batching) *funds {
	return &funds{chain: c, ds: ds, lock: make(chan struct{}, 1)}
}

// fundsRecord is what is kept of an address.
type fundsRecord struct {
	Reserved abi.TokenAmount // attoFIL
	Msg      *cid.Cid        `json:",omitempty"` // on its way, if any
	// Push is the id of a message that may have been pushed: it is written before.
	Push uuid.UUID `json:",omitzero"`
}

// checkAmount refuses what is no amount of FIL.
func checkAmount(amt abi.TokenAmount) error {
	if amt.Int == nil || amt.Sign() < 0 || amt.GreaterThan(maxValue) {
		return &api.ErrInvalid{What: "amount", Reason: "it is missing, negative or more than there is"}
	}
	return nil
}

func (f *funds) hold(ctx context.Context) error {
	select {
	case f.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *funds) let() { <-f.lock }

// get reads the record of an address; one that has none has reserved nothing.
func (f *funds) get(ctx context.Context, a address.Address) (fundsRecord, error) {
	r := fundsRecord{Reserved: big.Zero()}
	raw, err := f.ds.Get(ctx, datastore.RawKey(recFunds+a.String()))
	if errors.Is(err, datastore.ErrNotFound) {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("reserved funds of %s: %w", a, err)
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return r, fmt.Errorf("reserved funds of %s: %w", a, err)
	}
	return r, nil
}

// put writes a record durably; one that says nothing is deleted.
func (f *funds) put(ctx context.Context, a address.Address, r *fundsRecord) error {
	var raw []byte
	if r.Reserved.Sign() > 0 || r.Msg != nil || r.Push != uuid.Nil {
		var err error
		if raw, err = json.Marshal(r); err != nil {
			return fmt.Errorf("reserved funds of %s: %w", a, err)
		}
	}
	if err := putRecords(ctx, f.ds, map[string][]byte{recFunds + a.String(): raw}); err != nil {
		return fmt.Errorf("reserved funds of %s: %w", a, err)
	}
	return nil
}

// settled waits until no message of an address is on its way, and gives its record
// with the lock held.
func (f *funds) settled(ctx context.Context, a address.Address) (*fundsRecord, error) {
	for {
		if err := f.hold(ctx); err != nil {
			return nil, err
		}
		r, err := f.recovered(ctx, a)
		if err == nil && r.Msg == nil {
			return r, nil
		}
		f.let()
		if err != nil {
			return nil, err
		}
		if err := f.arrive(ctx, a, *r.Msg); err != nil {
			return nil, err
		}
	}
}

// recovered is get after a push that may have been cut off: what reached the pool
// is on its way, and nothing was reserved with it, because nobody was told.
func (f *funds) recovered(ctx context.Context, a address.Address) (*fundsRecord, error) {
	r, err := f.get(ctx, a)
	if err != nil || r.Push == uuid.Nil {
		return &r, err
	}
	s, err := f.chain.byUUID(ctx, r.Push)
	if err != nil {
		return nil, fmt.Errorf("last message for the escrow of %s: %w", a, err)
	}
	if r.Push = uuid.Nil; s != nil {
		c := s.Cid()
		r.Msg = &c
	}
	return &r, f.put(ctx, a, &r)
}

// arrive waits for a message of an address. How it ended does not matter: the
// escrow shows it.
func (f *funds) arrive(ctx context.Context, a address.Address, c cid.Cid) error {
	if _, err := f.chain.StateWaitMsg(ctx, c, fundsConfidence, -1, true); err != nil {
		return fmt.Errorf("message %s for the escrow of %s is still on its way: %w", c, a, err)
	}
	if err := f.hold(ctx); err != nil {
		return err
	}
	defer f.let()
	r, err := f.get(ctx, a)
	if err != nil || r.Msg == nil || *r.Msg != c {
		return err
	}
	r.Msg = nil
	return f.put(ctx, a, &r)
}

// available is the escrow of an address that no deal has locked.
func (f *funds) available(ctx context.Context, a address.Address) (abi.TokenAmount, error) {
	b, err := f.chain.StateMarketBalance(ctx, a, nil)
	if err != nil {
		return big.Zero(), fmt.Errorf("escrow of %s: %w", a, err)
	}
	return big.Sub(b.Escrow, b.Locked), nil
}

// push sends a message and makes then the record of a. Before, the record says
// that a message may be on its way.
func (f *funds) push(ctx context.Context, a address.Address, r *fundsRecord, m *api.Message, reserved abi.TokenAmount) (cid.Cid, error) {
	id := uuid.New()
	r.Push = id
	if err := f.put(ctx, a, r); err != nil {
		return cid.Undef, err
	}
	s, err := f.chain.MpoolPushMessage(ctx, m, &api.MessageSendSpec{MsgUuid: id, MaxFee: big.Zero()})
	if err != nil {
		// The id stays where it is not sure that nothing was pushed.
		if _, rerr := f.recovered(context.WithoutCancel(ctx), a); rerr != nil {
			err = errors.Join(err, rerr)
		}
		return cid.Undef, fmt.Errorf("message for the escrow of %s: %w", a, err)
	}
	c := s.Cid()
	r.Push, r.Msg, r.Reserved = uuid.Nil, &c, reserved
	return c, f.put(context.WithoutCancel(ctx), a, r)
}

// reserve keeps amt of the escrow of a; what the escrow lacks comes from wallet.
// The message is undefined when nothing was lacking.
func (f *funds) reserve(ctx context.Context, wallet, a address.Address, amt abi.TokenAmount) (cid.Cid, error) {
	r, err := f.settled(ctx, a)
	if err != nil {
		return cid.Undef, err
	}
	defer f.let()
	free, err := f.available(ctx, a)
	if err != nil {
		return cid.Undef, err
	}
	want := big.Add(r.Reserved, amt)
	lacks := big.Sub(want, free)
	if amt.IsZero() || lacks.Sign() <= 0 {
		r.Reserved = want
		return cid.Undef, f.put(ctx, a, r)
	}
	params, err := encodeParams(&a)
	if err != nil {
		return cid.Undef, err
	}
	return f.push(ctx, a, r, marketMessage(wallet, lacks, builtin.MethodsMarket.AddBalance, params), want)
}

// release gives up to amt of what is reserved free again.
func (f *funds) release(ctx context.Context, a address.Address, amt abi.TokenAmount) error {
	if err := f.hold(ctx); err != nil {
		return err
	}
	defer f.let()
	r, err := f.get(ctx, a)
	if err != nil {
		return err
	}
	r.Reserved = big.Max(big.Zero(), big.Sub(r.Reserved, amt))
	return f.put(ctx, a, &r)
}

// reserved is what is kept for an address.
func (f *funds) reserved(ctx context.Context, a address.Address) (abi.TokenAmount, error) {
	if err := f.hold(ctx); err != nil {
		return big.Zero(), err
	}
	defer f.let()
	r, err := f.get(ctx, a)
	return r.Reserved, err
}

// withdraw takes amt of the escrow that is neither locked nor reserved back.
func (f *funds) withdraw(ctx context.Context, wallet, a address.Address, amt abi.TokenAmount) (cid.Cid, error) {
	if amt.IsZero() {
		return cid.Undef, nil
	}
	r, err := f.settled(ctx, a)
	if err != nil {
		return cid.Undef, err
	}
	defer f.let()
	free, err := f.available(ctx, a)
	if err != nil {
		return cid.Undef, err
	}
	if net := big.Sub(free, r.Reserved); amt.GreaterThan(net) {
		return cid.Undef, &api.ErrInvalid{
			What:   fmt.Sprintf("withdrawal of %s attoFIL from the escrow of %s", amt, a),
			Reason: fmt.Sprintf("insufficient funds: net available (%s) = available (%s) - reserved (%s)", net, free, r.Reserved),
			Hint:   "release what is reserved or withdraw less",
		}
	}
	params, err := encodeParams(&market.WithdrawBalanceParams{ProviderOrClientAddress: a, Amount: amt})
	if err != nil {
		return cid.Undef, err
	}
	return f.push(ctx, a, r, marketMessage(wallet, big.Zero(), builtin.MethodsMarket.WithdrawBalance, params), r.Reserved)
}

func marketMessage(from address.Address, value abi.TokenAmount, method abi.MethodNum, params []byte) *api.Message {
	return &api.Message{
		To:         builtin.StorageMarketActorAddr,
		From:       from,
		Value:      value,
		GasFeeCap:  big.Zero(),
		GasPremium: big.Zero(),
		Method:     method,
		Params:     params,
	}
}
