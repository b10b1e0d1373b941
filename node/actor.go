package node

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"

	"quarry/api"
	"quarry/chain/msgs"
	mnet "quarry/markets/net"
)

// Actor changes what the chain says of a miner for its clients. It belongs to a
// command: nothing of it is kept, and a command that is repeated finds what is said
// already, or on its way, and waits for that.
type Actor struct {
	Chain api.Chain
	Miner address.Address
	From  address.Address // worker, owner or a control address; Undef: the worker
	Log   *slog.Logger
}

// Change is what became of one.
type Change struct {
	Message *cid.Cid `json:",omitempty"` // nil: the chain said so already
	Height  abi.ChainEpoch
	Is      []string // what the chain says now
}

// SetPeerID writes a libp2p peer id and waits until it is on chain.
func (a Actor) SetPeerID(ctx context.Context, id string) (Change, error) {
	return a.change(ctx, []string{id}, func(from address.Address) (*api.Message, error) { return mnet.PeerIDMessage(a.Miner, from, id) },
		func(info api.MinerInfo) []string { return []string{peerOnChain(info)} })
}

// SetAddrs writes the multiaddrs under which clients reach the miner and waits
// until they are on chain. Those that nobody can dial are refused.
func (a Actor) SetAddrs(ctx context.Context, addrs []string) (Change, error) {
	return a.change(ctx, canonical(addrs),
		func(from address.Address) (*api.Message, error) { return mnet.AddrsMessage(a.Miner, from, addrs, true) }, addrsOnChain)
}

func (a Actor) change(ctx context.Context, want []string, message func(address.Address) (*api.Message, error),
	said func(api.MinerInfo) []string) (Change, error) {
	info, err := a.Chain.StateMinerInfo(ctx, a.Miner, nil)
	if err != nil {
		return Change{}, fmt.Errorf("miner %s: %w", a.Miner, err)
	}
	from, err := a.sender(ctx, info)
	if err != nil {
		return Change{}, err
	}
	m, err := message(from)
	if err != nil {
		return Change{}, &api.ErrInvalid{What: strings.Join(want, ", "), Reason: err.Error()}
	}
	if slices.Equal(said(info), want) {
		return Change{Is: want}, nil
	}
	c, height, err := a.send(ctx, m)
	if err != nil {
		return Change{}, err
	}
	if info, err = a.Chain.StateMinerInfo(ctx, a.Miner, nil); err != nil {
		return Change{}, fmt.Errorf("miner %s after message %s: %w", a.Miner, c, err)
	}
	return Change{Message: &c, Height: height, Is: said(info)}, nil
}

// sender is the address that pays, whose key the full node's wallet has and whom
// the miner obeys.
func (a Actor) sender(ctx context.Context, info api.MinerInfo) (address.Address, error) {
	from := a.From
	if from == address.Undef {
		from = info.Worker
	}
	key, err := a.Chain.StateAccountKey(ctx, from, nil)
	if err != nil {
		return address.Undef, fmt.Errorf("key of %s: %w", from, err)
	}
	has, err := a.Chain.WalletHas(ctx, key)
	if err != nil {
		return address.Undef, fmt.Errorf("look for %s in the full node's wallet: %w", key, err)
	}
	if !has {
		return address.Undef, &api.ErrInvalid{What: "sender " + from.String(), Reason: "its key is not in the full node's wallet",
			Hint: "import it there, or give --from with the worker, the owner or a control address of " + a.Miner.String()}
	}
	return from, nil
}

// send sends the message, unless the same one waits already, and waits until it is
// executed.
func (a Actor) send(ctx context.Context, m *api.Message) (cid.Cid, abi.ChainEpoch, error) {
	c, found, err := a.pending(ctx, m)
	if err != nil {
		return cid.Undef, 0, err
	}
	sender := msgs.New(msgs.Config{Confidence: messageConfidence},
		msgs.Deps{Chain: a.Chain, Log: a.Log, Store: dssync.MutexWrap(datastore.NewMapDatastore())})
	if !found {
		if c, err = sender.Send(ctx, "actor", m); err != nil {
			return cid.Undef, 0, fmt.Errorf("send the message to %s: %w", a.Miner, err)
		}
	}
	got, err := sender.Wait(ctx, c)
	if err != nil {
		return cid.Undef, 0, fmt.Errorf("wait for message %s (it is on its way; the same command again waits for it): %w", c, err)
	}
	if !got.Receipt.ExitCode.IsSuccess() {
		return cid.Undef, 0, fmt.Errorf("message %s was refused: exit code %d (is %s the worker, the owner or a control address of %s?)",
			c, got.Receipt.ExitCode, m.From, a.Miner)
	}
	return got.Message, got.Height, nil
}

// pending is the same message on its way, sent by a command that was interrupted.
func (a Actor) pending(ctx context.Context, m *api.Message) (cid.Cid, bool, error) {
	list, err := a.Chain.MpoolPending(ctx, nil)
	if err != nil {
		return cid.Undef, false, fmt.Errorf("ask for messages on their way: %w", err)
	}
	for _, s := range list {
		if s.Message.To == m.To && s.Message.Method == m.Method && bytes.Equal(s.Message.Params, m.Params) {
			return s.Cid(), true, nil
		}
	}
	return cid.Undef, false, nil
}
