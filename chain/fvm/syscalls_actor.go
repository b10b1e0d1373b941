package fvm

import (
	"context"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"

	"quarry/chain/fvm/state"
)

func resolveAddress(ctx context.Context, k *kernel, a args) ([]byte, error) {
	addr, err := k.readAddress(a.u32(0), a.u32(1))
	if err != nil {
		return nil, err
	}
	id, ok, err := k.cm.m.tree.LookupID(ctx, addr)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, sysErr(notFound, "address %s has no actor", addr)
	}
	return le64(uint64(id)), nil
}

func (k *kernel) other(id uint64) (*state.Actor, error) {
	a, ok, err := k.cm.actor(abi.ActorID(id))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, sysErr(notFound, "actor f0%d does not exist", id)
	}
	return a, nil
}

func lookupDelegated(_ context.Context, k *kernel, a args) ([]byte, error) {
	if err := k.window(a.u32(1), a.u32(2)); err != nil {
		return nil, err
	}
	act, err := k.other(a[0])
	if err != nil {
		return nil, err
	}
	if act.DelegatedAddress == nil {
		return le32(0), nil
	}
	return k.write(a.u32(1), a.u32(2), act.DelegatedAddress.Bytes())
}

func actorCode(_ context.Context, k *kernel, a args) ([]byte, error) {
	if err := k.window(a.u32(1), a.u32(2)); err != nil {
		return nil, err
	}
	act, err := k.other(a[0])
	if err != nil {
		return nil, err
	}
	return k.write(a.u32(1), a.u32(2), act.Code.Bytes())
}

func actorType(_ context.Context, k *kernel, a args) ([]byte, error) {
	c, err := k.readCid(a.u32(0))
	if err != nil {
		return nil, err
	}
	return le32(k.cm.m.actors.number[c]), nil
}

func codeForType(_ context.Context, k *kernel, a args) ([]byte, error) {
	n := a.u32(0)
	if n == 0 || int64(n) > int64(len(k.cm.m.actors.list)) {
		return nil, sysErr(illegalArgument, "no built-in actor has type %d", n)
	}
	return k.write(a.u32(1), a.u32(2), k.cm.m.actors.list[n-1].Code.Bytes())
}

func nextAddress(_ context.Context, k *kernel, a args) ([]byte, error) {
	addr, err := k.cm.nextAddress()
	if err != nil {
		return nil, err
	}
	return k.write(a.u32(0), a.u32(1), addr.Bytes())
}

func createActor(_ context.Context, k *kernel, a args) ([]byte, error) {
	code, err := k.readCid(a.u32(1))
	if err != nil {
		return nil, err
	}
	var delegated *address.Address
	if a.u32(3) != 0 {
		d, err := k.readAddress(a.u32(2), a.u32(3))
		if err != nil {
			return nil, err
		}
		delegated = &d
	}
	if k.to != state.InitActor {
		return nil, sysErr(forbidden, "only f01 may create actors")
	}
	if k.readOnly {
		return nil, sysErr(readOnly, "cannot create an actor in a read-only call")
	}
	return nil, k.cm.createActor(abi.ActorID(a[0]), code, delegated)
}

func balanceOf(_ context.Context, k *kernel, a args) ([]byte, error) {
	act, err := k.other(a[0])
	if err != nil {
		return nil, err
	}
	return tokens(act.Balance)
}
