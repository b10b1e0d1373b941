package devnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

func encodeParams(v cbg.CBORMarshaler) ([]byte, error) {
	var buf bytes.Buffer
	if err := v.MarshalCBOR(&buf); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return buf.Bytes(), nil
}

// sender reads an account from the state after the head.
func (n *Node) sender(ctx context.Context, a address.Address) (sender, error) {
	v, err := n.headView(ctx)
	if err != nil {
		return sender{}, err
	}
	act, err := v.actor(ctx, a)
	if err != nil {
		return sender{}, err
	}
	key, err := v.accountKey(ctx, a)
	if err != nil {
		return sender{}, err
	}
	return sender{key: key, nonce: act.CallSeqNum, balance: act.Balance}, nil
}

func (n *Node) pushLock(key address.Address) *sync.Mutex {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pushLocks[key] == nil {
		n.pushLocks[key] = new(sync.Mutex)
	}
	return n.pushLocks[key]
}

// MpoolPushMessage implements api.Chain.
func (n *Node) MpoolPushMessage(ctx context.Context, msg *api.Message, spec *api.MessageSendSpec) (*api.SignedMessage, error) {
	if err := complete(msg); err != nil {
		return nil, err
	}
	id := uuid.Nil
	if spec != nil {
		id = spec.MsgUuid
	}
	if msg.Nonce != 0 {
		return nil, &api.ErrInvalid{What: "message", Reason: fmt.Sprintf("MpoolPushMessage expects message nonce to be 0, was %d",
			msg.Nonce)}
	}
	from, err := n.sender(ctx, msg.From)
	if err != nil {
		return nil, fmt.Errorf("mpool push: %w", err)
	}
	lock := n.pushLock(from.key)
	lock.Lock()
	defer lock.Unlock()
	if known, err := n.byUUID(ctx, id); known != nil || err != nil {
		return known, err
	}
	m := *msg
	m.From = from.key
	fillBigs(&m)
	est, err := n.GasEstimateMessageGas(ctx, &m, spec, nil)
	if err != nil {
		return nil, fmt.Errorf("GasEstimateMessageGas error: %w", err)
	}
	return n.assign(ctx, from.key, est, id)
}

// assign gives a message the sender's next nonce, signs it and keeps it. The
// caller holds the sender's lock; the head stands still meanwhile, so that the
// nonce is the next one also when the message enters the pool.
func (n *Node) assign(ctx context.Context, key address.Address, m *api.Message, id uuid.UUID) (*api.SignedMessage, error) {
	n.headAndPool.RLock()
	defer n.headAndPool.RUnlock()
	from, err := n.sender(ctx, key)
	if err != nil {
		return nil, err
	}
	if need := big.Add(m.Value, big.Mul(m.GasFeeCap, big.NewInt(m.GasLimit))); from.balance.LessThan(need) {
		return nil, fmt.Errorf("mpool push: not enough funds: %s < %s", from.balance, need)
	}
	m.Nonce = n.pool.nextNonce(from.key, from.nonce)
	s, err := n.wallet.SignMessage(ctx, from.key, m)
	if err != nil {
		return nil, err
	}
	recs := map[string][]byte{}
	if id != uuid.Nil {
		if recs[recUUID+id.String()], err = s.Serialize(); err != nil {
			return nil, err
		}
	}
	if err := n.pool.add(ctx, s, from, recs); err != nil {
		return nil, err
	}
	return s, nil
}

// byUUID finds what an earlier push of the same id signed. As in Lotus it is the
// answer whatever became of it since; one that the pool lost is put back where
// its nonce is free.
func (n *Node) byUUID(ctx context.Context, id uuid.UUID) (*api.SignedMessage, error) {
	if id == uuid.Nil {
		return nil, nil
	}
	raw, err := n.ds.Get(ctx, datastore.RawKey(recUUID+id.String()))
	if errors.Is(err, datastore.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up push %s: %w", id, err)
	}
	s, err := api.DecodeSignedMessage(raw)
	if err != nil {
		return nil, err
	}
	n.headAndPool.RLock()
	defer n.headAndPool.RUnlock()
	from, err := n.sender(ctx, s.Message.From)
	if err != nil {
		return nil, err
	}
	if s.Message.Nonce < from.nonce || n.pool.at(from.key, s.Message.Nonce) != nil {
		return s, nil
	}
	return s, n.pool.add(ctx, s, from, nil)
}

func fillBigs(m *api.Message) {
	for _, b := range []*abi.TokenAmount{&m.Value, &m.GasFeeCap, &m.GasPremium} {
		if b.Int == nil {
			*b = big.Zero()
		}
	}
}

// MpoolPush implements api.Chain.
func (n *Node) MpoolPush(ctx context.Context, s *api.SignedMessage) (cid.Cid, error) {
	if s == nil {
		return cid.Undef, &api.ErrInvalid{What: "message", Reason: "none given"}
	}
	from, err := n.sender(ctx, s.Message.From)
	if err != nil {
		return cid.Undef, err
	}
	lock := n.pushLock(from.key)
	lock.Lock()
	defer lock.Unlock()
	n.headAndPool.RLock()
	defer n.headAndPool.RUnlock()
	if from, err = n.sender(ctx, from.key); err != nil { // the head may have moved
		return cid.Undef, err
	}
	if err := n.pool.add(ctx, s, from, nil); err != nil {
		return cid.Undef, err
	}
	return s.Cid(), nil
}

// MpoolGetNonce implements api.Chain.
func (n *Node) MpoolGetNonce(ctx context.Context, a address.Address) (uint64, error) {
	n.headAndPool.RLock()
	defer n.headAndPool.RUnlock()
	from, err := n.sender(ctx, a)
	if err != nil {
		return 0, err
	}
	return n.pool.nextNonce(from.key, from.nonce), nil
}

// MpoolPending implements api.Chain.
func (n *Node) MpoolPending(context.Context, api.TipSetKey) ([]*api.SignedMessage, error) {
	return n.pool.all(), nil
}

// MpoolSelect implements api.Chain.
func (n *Node) MpoolSelect(ctx context.Context, tsk api.TipSetKey, _ float64) ([]*api.SignedMessage, error) {
	ts, err := n.ledger.tipset(ctx, tsk)
	if err != nil {
		return nil, err
	}
	o, err := n.exec.after(ctx, ts)
	if err != nil {
		return nil, err
	}
	fee, err := n.baseFee(ctx, ts)
	if err != nil {
		return nil, err
	}
	out, err := n.selectMessages(ctx, o.State, fee)
	if out == nil {
		out = []*api.SignedMessage{}
	}
	return out, err
}
