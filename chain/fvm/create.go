package fvm

import (
	"bytes"
	"context"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

	"quarry/chain/fvm/gas"
	"quarry/chain/fvm/links"
	"quarry/chain/fvm/state"
)

// eamNamespace is the f4 namespace whose unknown addresses become placeholders.
const eamNamespace = 10

// receiver resolves the recipient and creates key accounts and placeholders
// that do not exist yet.
func (cm *callManager) receiver(ctx context.Context, to address.Address, ro bool) (abi.ActorID, error) {
	id, ok, err := cm.m.tree.LookupID(ctx, to)
	if err != nil || ok {
		return id, err
	}
	switch p := to.Protocol(); {
	case p == address.BLS || p == address.SECP256K1:
		if ro {
			return 0, sysErr(readOnly, "cannot create account %s in a read-only call", to)
		}
		return cm.createAccount(ctx, to)
	case p == address.Delegated && delegatedNamespace(to) == eamNamespace:
		if ro {
			return 0, sysErr(readOnly, "cannot create placeholder %s in a read-only call", to)
		}
		return cm.createFromSend(ctx, to, "placeholder", &to)
	}
	return 0, sysErr(notFound, "actor %s does not exist and cannot be created", to)
}

func delegatedNamespace(a address.Address) uint64 {
	ns, _, err := links.Uvarint(a.Payload())
	if err != nil {
		return 0
	}
	return ns
}

func (cm *callManager) createFromSend(
	ctx context.Context, addr address.Address, kind string, delegated *address.Address,
) (abi.ActorID, error) {
	code, ok := cm.m.actors.code[kind]
	if !ok {
		return 0, fmt.Errorf("create %s: the actors manifest has no %s", addr, kind)
	}
	if err := cm.gas.Charge(gas.CreateActor + gas.AssignAddress); err != nil {
		return 0, err
	}
	id, err := cm.m.tree.RegisterAddress(ctx, addr)
	if err != nil {
		return 0, err
	}
	return id, cm.setActor(id, newActor(code, delegated))
}

func newActor(code cid.Cid, delegated *address.Address) *state.Actor {
	return &state.Actor{Code: code, Head: state.EmptyArrayHead, Balance: big.Zero(), DelegatedAddress: delegated}
}

func (cm *callManager) createAccount(ctx context.Context, addr address.Address) (abi.ActorID, error) {
	if addr.Protocol() == address.BLS && bytes.Equal(addr.Payload(), make([]byte, address.BlsPublicKeyBytes)) {
		return 0, sysErr(illegalArgument, "cannot create the account of the zero BLS key")
	}
	id, err := cm.createFromSend(ctx, addr, "account", nil)
	if err != nil {
		return 0, err
	}
	var params bytes.Buffer
	if err := addr.MarshalCBOR(&params); err != nil {
		return 0, fmt.Errorf("encode %s: %w", addr, err)
	}
	// The constructor's exit code is not looked at, as in ref-fvm.
	constructor := send{
		to:       addr,
		method:   1,
		params:   &block{codec: links.CBOR, data: params.Bytes()},
		value:    big.Zero(),
		implicit: true,
	}
	_, err = cm.callResolved(ctx, id, constructor)
	return id, err
}

// nextAddress is the f2 address of the next actor created by this message.
func (cm *callManager) nextAddress() (address.Address, error) {
	var b bytes.Buffer
	if err := cm.originAddr.MarshalCBOR(&b); err != nil {
		return address.Undef, fmt.Errorf("encode origin: %w", err)
	}
	var n [16]byte
	putBE(n[:8], cm.nonce)
	putBE(n[8:], cm.created)
	b.Write(n[:])
	return address.NewActorAddress(b.Bytes())
}

func (cm *callManager) createActor(id abi.ActorID, code cid.Cid, delegated *address.Address) error {
	placeholder := cm.m.actors.code["placeholder"]
	if code.Equals(placeholder) {
		return sysErr(forbidden, "cannot create a placeholder explicitly")
	}
	a, ok, err := cm.actor(id)
	if err != nil {
		return err
	}
	switch {
	case !ok:
		if err := cm.gas.Charge(gas.CreateActor); err != nil {
			return err
		}
		a = newActor(code, delegated)
	case a.Code.Equals(placeholder):
		if delegated == nil || a.DelegatedAddress == nil || *a.DelegatedAddress != *delegated {
			return sysErr(forbidden, "placeholder f0%d has another delegated address", id)
		}
		a.Code = code
	default:
		return sysErr(forbidden, "actor f0%d exists already", id)
	}
	if err := cm.setActor(id, a); err != nil {
		return err
	}
	cm.created++
	return nil
}
