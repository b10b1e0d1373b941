package msgs

import (
	"context"
	"errors"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// A node that cannot be asked leaves the outcome open; nothing is pushed.
func TestLostAnswerWhileTheNodeIsAway(t *testing.T) {
	l := newLab(t, Config{})
	lost := &api.ErrUnreachable{Peer: "the full node", Reason: "connection reset"}
	l.m.pushFault = func(*api.Message) (error, error) { return nil, lost }
	if _, err := l.s.Send(t.Context(), "k", l.message("k")); err == nil {
		t.Fatal("no error")
	}
	l.m.mine(nil)
	l.m.mine(nil)
	for _, method := range []string{"ChainHead", "StateAccountKey", "MpoolPending", "ChainGetTipSetByHeight",
		"ChainGetMessagesInTipset", "StateGetActor"} {
		l.s.deps.Chain = &away{model: l.m, method: method}
		l.s.pool.forget()
		pushes := l.m.calls["MpoolPushMessage"]
		if _, err := l.s.Send(t.Context(), "k", l.message("k")); !errors.Is(err, errAway) {
			t.Errorf("%s: %v", method, err)
		}
		if l.m.calls["MpoolPushMessage"] != pushes {
			t.Errorf("%s: pushed all the same", method)
		}
	}
}

var errAway = errors.New("the node is away")

// away fails one method.
type away struct {
	*model
	method string
}

func (a *away) err(method string) error {
	if method == a.method {
		return errAway
	}
	return nil
}

func (a *away) ChainHead(ctx context.Context) (*api.TipSet, error) {
	if err := a.err("ChainHead"); err != nil {
		return nil, err
	}
	return a.model.ChainHead(ctx)
}

func (a *away) StateAccountKey(ctx context.Context, x address.Address, k api.TipSetKey) (address.Address, error) {
	if err := a.err("StateAccountKey"); err != nil {
		return address.Undef, err
	}
	return a.model.StateAccountKey(ctx, x, k)
}

func (a *away) MpoolPending(ctx context.Context, k api.TipSetKey) ([]*api.SignedMessage, error) {
	if err := a.err("MpoolPending"); err != nil {
		return nil, err
	}
	return a.model.MpoolPending(ctx, k)
}

func (a *away) ChainGetTipSetByHeight(ctx context.Context, h abi.ChainEpoch, k api.TipSetKey) (*api.TipSet, error) {
	if err := a.err("ChainGetTipSetByHeight"); err != nil {
		return nil, err
	}
	return a.model.ChainGetTipSetByHeight(ctx, h, k)
}

func (a *away) ChainGetMessagesInTipset(ctx context.Context, k api.TipSetKey) ([]api.CidMessage, error) {
	if err := a.err("ChainGetMessagesInTipset"); err != nil {
		return nil, err
	}
	return a.model.ChainGetMessagesInTipset(ctx, k)
}

func (a *away) StateGetActor(ctx context.Context, x address.Address, k api.TipSetKey) (*api.Actor, error) {
	if err := a.err("StateGetActor"); err != nil {
		return nil, err
	}
	return a.model.StateGetActor(ctx, x, k)
}
