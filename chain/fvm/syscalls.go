package fvm

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/exitcode"

	"quarry/chain/fvm/gas"
	"quarry/chain/fvm/state"
)

// burntFunds is f099, where fees and the balance of deleted actors go.
const burntFunds abi.ActorID = 99

// hostFuncs lists the imports of the SDK 4 ABI, or with v3 those of actors v10
// (FVM 3), which differ in events, randomness and self_destruct
// (ref-fvm fvm/src/syscalls).
func hostFuncs(v3 bool) []hostFunc {
	f := []hostFunc{
		{"vm", "exit", 0, "iiii", vmExit},
		{"vm", "message_context", 80, "", vmContext},
		{"network", "context", 44, "", networkContext},
		{"network", "total_fil_circ_supply", 16, "", circSupply},
		{"network", "tipset_cid", 4, "lii", tipsetCid},
		{"self", "root", 4, "ii", selfRoot},
		{"self", "set_root", 0, "i", selfSetRoot},
		{"self", "current_balance", 16, "", selfBalance},
		{"ipld", "block_open", 16, "i", blockOpen},
		{"ipld", "block_create", 4, "lii", blockCreate},
		{"ipld", "block_read", 4, "iiii", blockRead},
		{"ipld", "block_stat", 12, "i", blockStat},
		{"ipld", "block_link", 4, "iliii", blockLink},
		{"actor", "resolve_address", 8, "ii", resolveAddress},
		{"actor", "lookup_delegated_address", 4, "lii", lookupDelegated},
		{"actor", "get_actor_code_cid", 4, "lii", actorCode},
		{"actor", "get_builtin_actor_type", 4, "i", actorType},
		{"actor", "get_code_cid_for_type", 4, "iii", codeForType},
		{"actor", "next_actor_address", 4, "ii", nextAddress},
		{"actor", "create_actor", 0, "liii", createActor},
		{"actor", "balance_of", 16, "l", balanceOf},
		{"send", "send", 20, "iilillll", sysSend},
		{"crypto", "hash", 4, "liiii", cryptoHash},
		{"crypto", "verify_signature", 4, "iiiiiii", verifySignature},
		{"crypto", "recover_secp_public_key", 65, "ii", recoverSecp},
		{"crypto", "compute_unsealed_sector_cid", 4, "liiii", unsealedCid},
		{"crypto", "verify_post", 4, "ii", verifyPoSt},
		{"crypto", "verify_aggregate_seals", 4, "ii", verifyAggregate},
		{"crypto", "verify_replica_update", 4, "ii", verifyUpdate},
		{"crypto", "batch_verify_seals", 0, "iii", verifySeals},
		{"crypto", "verify_consensus_fault", 20, "iiiiii", verifyFault},
		{"debug", "enabled", 4, "", debugEnabled},
		{"debug", "log", 0, "ii", debugLog},
		{"debug", "store_artifact", 0, "iiii", func(context.Context, *kernel, args) ([]byte, error) { return nil, nil }},
		{"gas", "available", 8, "", gasAvailable},
		{"gas", "charge", 0, "iil", gasCharge},
	}
	if v3 {
		return append(f,
			hostFunc{"self", "self_destruct", 0, "ii", selfDestructV3},
			hostFunc{"event", "emit_event", 0, "ii", emitEventV3},
			hostFunc{"rand", "get_chain_randomness", 32, "llii", drawV3(chainRandomness)},
			hostFunc{"rand", "get_beacon_randomness", 32, "llii", drawV3(beaconRandomness)})
	}
	return append(f,
		hostFunc{"self", "self_destruct", 0, "i", selfDestruct},
		hostFunc{"event", "emit_event", 0, "iiiiii", emitEvent},
		hostFunc{"rand", "get_chain_randomness", 32, "l", randomness(chainRandomness)},
		hostFunc{"rand", "get_beacon_randomness", 32, "l", randomness(beaconRandomness)})
}

func vmExit(_ context.Context, k *kernel, a args) ([]byte, error) {
	code := exitcode.ExitCode(int32(a.u32(0)))
	msg, err := k.read(a.u32(2), a.u32(3))
	if err != nil {
		msg = []byte("(exit message out of bounds)")
	}
	if len(msg) > 1024 {
		msg = append(append(msg[:512:512], " .. "...), msg[len(msg)-512:]...)
	}
	if code != 0 && code < firstActorExit {
		msg = append(msg, fmt.Sprintf(" (actor chose reserved exit code %d)", code)...)
		code = exitcode.SysErrIllegalExitCode
	}
	k.exited = true
	k.exitCode, k.exitBlock, k.exitMessage = code, a.u32(1), string(msg)
	return nil, nil
}

func vmContext(_ context.Context, k *kernel, _ args) ([]byte, error) {
	var b []byte
	for _, v := range []uint64{uint64(k.cm.origin), k.cm.nonce, uint64(k.from), uint64(k.to), uint64(k.method)} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	for _, v := range []abi.TokenAmount{k.value, k.cm.premium} {
		t, err := tokens(v)
		if err != nil {
			return nil, err
		}
		b = append(b, t...)
	}
	var flags uint64
	if k.readOnly {
		flags = 1
	}
	return append(b, le64(flags)...), nil
}

func networkContext(_ context.Context, k *kernel, _ args) ([]byte, error) {
	c := &k.cm.m.cfg
	fee, err := tokens(c.BaseFee)
	if err != nil {
		return nil, err
	}
	b := append(le64(uint64(c.Epoch)), le64(c.Timestamp)...)
	b = append(append(b, fee...), le64(c.ChainID)...)
	return append(b, le32(uint32(c.NetworkVersion))...), nil
}

func circSupply(_ context.Context, k *kernel, _ args) ([]byte, error) {
	return tokens(k.cm.m.cfg.CircSupply)
}

func tipsetCid(ctx context.Context, k *kernel, a args) ([]byte, error) {
	epoch := abi.ChainEpoch(a.i64(0))
	if epoch < 0 || epoch >= k.cm.m.cfg.Epoch {
		return nil, sysErr(illegalArgument, "no tipset key for epoch %d at %d", epoch, k.cm.m.cfg.Epoch)
	}
	if err := k.window(a.u32(1), a.u32(2)); err != nil {
		return nil, err
	}
	if err := k.cm.gas.Charge(k.cm.prices.Randomness(int64(k.cm.m.cfg.Epoch-epoch), 0)); err != nil {
		return nil, err
	}
	c, err := k.cm.m.deps.Externs.TipsetCID(ctx, epoch)
	if err != nil {
		return nil, sysErr(illegalArgument, "tipset key at %d: %v", epoch, err)
	}
	return k.write(a.u32(1), a.u32(2), c.Bytes())
}

// --- self ---

func (k *kernel) self() (*state.Actor, error) {
	a, ok, err := k.cm.actor(k.to)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, sysErr(illegalOperation, "actor f0%d is deleted", k.to)
	}
	return a, nil
}

func selfRoot(_ context.Context, k *kernel, a args) ([]byte, error) {
	if err := k.window(a.u32(0), a.u32(1)); err != nil {
		return nil, err
	}
	if err := k.cm.gas.Charge(k.cm.prices.Root()); err != nil {
		return nil, err
	}
	st, err := k.self()
	if err != nil {
		return nil, err
	}
	out, err := k.write(a.u32(0), a.u32(1), st.Head.Bytes())
	if err == nil {
		k.reach(st.Head)
	}
	return out, err
}

func selfSetRoot(_ context.Context, k *kernel, a args) ([]byte, error) {
	c, err := k.readCid(a.u32(0))
	if err != nil {
		return nil, err
	}
	if k.readOnly {
		return nil, sysErr(readOnly, "cannot change state in a read-only call")
	}
	if err := k.cm.gas.Charge(k.cm.prices.Root()); err != nil {
		return nil, err
	}
	if _, ok := k.reachable[c]; !ok {
		return nil, sysErr(notFound, "new state root %s is not reachable", c)
	}
	st, err := k.self()
	if err != nil {
		return nil, err
	}
	st.Head = c
	return nil, k.cm.setActor(k.to, st)
}

func selfBalance(_ context.Context, k *kernel, _ args) ([]byte, error) {
	a, ok, err := k.cm.actor(k.to)
	if err != nil {
		return nil, err
	}
	if !ok {
		return tokens(big.Zero())
	}
	return tokens(a.Balance)
}

func selfDestruct(_ context.Context, k *kernel, a args) ([]byte, error) {
	return nil, k.destroy(func() (abi.ActorID, bool, error) { return burntFunds, a.u32(0) != 0, nil })
}

func selfDestructV3(ctx context.Context, k *kernel, a args) ([]byte, error) {
	addr, err := k.readAddress(a.u32(0), a.u32(1))
	if err != nil {
		return nil, err
	}
	return nil, k.destroy(func() (abi.ActorID, bool, error) { return k.cm.m.tree.LookupID(ctx, addr) })
}

// destroy deletes the actor after moving its balance to a beneficiary.
func (k *kernel) destroy(beneficiary func() (abi.ActorID, bool, error)) error {
	if k.readOnly {
		return sysErr(readOnly, "cannot delete an actor in a read-only call")
	}
	a, ok, err := k.cm.actor(k.to)
	if err != nil || !ok {
		return err
	}
	if a.Balance.Sign() != 0 {
		to, ok, err := beneficiary()
		if err != nil {
			return err
		}
		if !ok || to == k.to {
			return sysErr(illegalOperation, "deleting f0%d needs a recipient for its balance", k.to)
		}
		if err := k.cm.gas.Charge(gas.ValueTransfer); err != nil {
			return err
		}
		if err := k.cm.transfer(k.to, to, a.Balance); err != nil {
			return err
		}
	}
	return k.cm.deleteActor(k.to)
}

// --- blocks ---
