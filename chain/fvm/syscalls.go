package fvm

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/exitcode"

	"quarry/chain/fvm/gas"
	"quarry/chain/fvm/links"
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
	k.exited, k.exitCode, k.exitBlock, k.exitMessage = true, code, a.u32(1), string(msg)
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

func blockOpen(ctx context.Context, k *kernel, a args) ([]byte, error) {
	c, err := k.readCid(a.u32(0))
	if err != nil {
		return nil, err
	}
	if _, ok := k.reachable[c]; !ok {
		return nil, sysErr(notFound, "block %s is not reachable", c)
	}
	if err := k.cm.gas.Charge(k.cm.prices.BlockOpenBase()); err != nil {
		return nil, err
	}
	data, err := k.cm.m.buf.Get(ctx, c)
	if err != nil {
		return nil, err
	}
	codec := c.Prefix().Codec
	kids, err := k.scan(codec, data)
	if err != nil {
		return nil, err
	}
	if err := k.cm.gas.Charge(k.cm.prices.Block(len(data), len(kids))); err != nil {
		return nil, err
	}
	h := k.insert(&block{codec: codec, data: data, links: kids})
	return append(append(le64(codec), le32(h)...), le32(uint32(len(data)))...), nil
}

func blockCreate(_ context.Context, k *kernel, a args) ([]byte, error) {
	codec := uint64(a.i64(0))
	if _, ok := k.mem.Read(a.u32(1), a.u32(2)); !ok {
		return nil, sysErr(illegalArgument, "block is out of bounds")
	}
	if a.u32(2) > maxBlock {
		return nil, sysErr(limitExceeded, "block of %d bytes exceeds %d", a.u32(2), maxBlock)
	}
	if codec != links.CBOR && codec != links.DagCBOR && codec != links.Raw {
		return nil, sysErr(illegalCodec, "codec %#x is not allowed", codec)
	}
	data, err := k.read(a.u32(1), a.u32(2))
	if err != nil {
		return nil, err
	}
	kids, err := k.scan(codec, data)
	if err != nil {
		return nil, err
	}
	if err := k.cm.gas.Charge(k.cm.prices.Block(len(data), len(kids))); err != nil {
		return nil, err
	}
	for _, c := range kids {
		if _, ok := k.reachable[c]; !ok {
			return nil, sysErr(notFound, "block links to %s, which is not reachable", c)
		}
	}
	return le32(k.insert(&block{codec: codec, data: data, links: kids})), nil
}

func blockRead(_ context.Context, k *kernel, a args) ([]byte, error) {
	offset, ptr, n := a.u32(1), a.u32(2), a.u32(3)
	if err := k.window(ptr, n); err != nil {
		return nil, err
	}
	b, err := k.block(a.u32(0))
	if err != nil {
		return nil, err
	}
	end := uint64(offset) + uint64(n)
	if end > math.MaxInt32 {
		return nil, sysErr(illegalArgument, "block range %d+%d is too large", offset, n)
	}
	var part []byte
	if int(offset) < len(b.data) {
		part = b.data[offset:min(int(end), len(b.data))]
	}
	if err := k.cm.gas.Charge(gas.Copy(len(part))); err != nil {
		return nil, err
	}
	k.mem.Write(ptr, part)
	return i32(int32(int64(len(b.data)) - int64(end))), nil
}

func blockStat(_ context.Context, k *kernel, a args) ([]byte, error) {
	b, err := k.block(a.u32(0))
	if err != nil {
		return nil, err
	}
	return append(le64(b.codec), le32(uint32(len(b.data)))...), nil
}

func blockLink(ctx context.Context, k *kernel, a args) ([]byte, error) {
	if err := k.window(a.u32(3), a.u32(4)); err != nil {
		return nil, err
	}
	if a[1] != links.Blake2b256 || a.u32(2) != 32 {
		return nil, sysErr(illegalCid, "hash %#x of %d bytes is not allowed", a[1], a.u32(2))
	}
	b, err := k.block(a.u32(0))
	if err != nil {
		return nil, err
	}
	if err := k.cm.gas.Charge(k.cm.prices.BlockLink(len(b.data))); err != nil {
		return nil, err
	}
	c, err := k.cm.m.buf.PutRaw(b.codec, b.data)
	if err != nil {
		return nil, err
	}
	k.reach(c)
	return k.write(a.u32(3), a.u32(4), c.Bytes())
}

// --- actors ---

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

func sysSend(ctx context.Context, k *kernel, a args) ([]byte, error) {
	addr, err := k.readAddress(a.u32(0), a.u32(1))
	if err != nil {
		return nil, err
	}
	if a[7] > 1 {
		return nil, sysErr(illegalArgument, "unknown send flags %#x", a[7])
	}
	value, ro := amount(a[4], a[5]), k.readOnly || a[7] == 1
	if ro && value.Sign() != 0 {
		return nil, sysErr(readOnly, "cannot transfer value in a read-only call")
	}
	var params *block
	if h := a.u32(3); h != 0 {
		if params, err = k.block(h); err != nil {
			return nil, err
		}
	}
	var limit *gas.Milli
	if a[6] != math.MaxUint64 {
		l := gas.Gas(int64(min(a[6], math.MaxInt64)))
		limit = &l
	}
	res, err := k.cm.transaction(func() (invocation, error) {
		return k.cm.call(ctx, k.to, addr, abi.MethodNum(a[2]), params, value, limit, ro)
	})
	if err != nil {
		return nil, err
	}
	out := le32(uint32(res.code))
	if res.value == nil {
		return append(out, make([]byte, 16)...), nil
	}
	h := k.insert(res.value)
	out = append(append(out, le32(h)...), le64(res.value.codec)...)
	return append(out, le32(uint32(len(res.value.data)))...), nil
}

// --- events ---

const (
	maxEventEntries = 255
	maxEventKey     = 31
	maxEventValues  = 8 << 10
)

func emitEvent(_ context.Context, k *kernel, a args) ([]byte, error) {
	n, keyLen, valLen := a.u32(1), a.u32(3), a.u32(5)
	if k.readOnly {
		return nil, sysErr(readOnly, "cannot emit events in a read-only call")
	}
	if n > maxEventEntries || valLen > maxEventValues || keyLen > n*maxEventKey {
		return nil, sysErr(limitExceeded, "event of %d entries, %d key and %d value bytes is too large", n, keyLen, valLen)
	}
	if err := k.cm.gas.Charge(gas.Event(int(n), int(keyLen), int(valLen))); err != nil {
		return nil, err
	}
	raw, err := k.read(a.u32(0), n*24)
	if err != nil {
		return nil, err
	}
	keys, err := k.read(a.u32(2), keyLen)
	if err != nil {
		return nil, err
	}
	vals, err := k.read(a.u32(4), valLen)
	if err != nil {
		return nil, err
	}
	entries, err := unpackEvent(raw, keys, vals)
	if err != nil {
		return nil, err
	}
	k.cm.events = append(k.cm.events, Event{Emitter: k.to, Entries: entries})
	return nil, nil
}

func unpackEvent(raw, keys, vals []byte) ([]EventEntry, error) {
	if !utf8.Valid(keys) {
		return nil, sysErr(illegalArgument, "event keys are not UTF-8")
	}
	var out []EventEntry
	for ; len(raw) > 0; raw = raw[24:] {
		le := binary.LittleEndian
		flags, codec := le.Uint64(raw), le.Uint64(raw[8:])
		kn, vn := le.Uint32(raw[16:]), le.Uint32(raw[20:])
		switch {
		case flags > 3:
			return nil, sysErr(illegalArgument, "unknown event flags %#x", flags)
		case kn > maxEventKey:
			return nil, sysErr(limitExceeded, "event key of %d bytes", kn)
		case uint64(kn) > uint64(len(keys)) || uint64(vn) > uint64(len(vals)):
			return nil, sysErr(illegalArgument, "event entry exceeds its buffers")
		case codec != links.Raw && codec != links.CBOR:
			return nil, sysErr(illegalCodec, "event codec %#x", codec)
		case !utf8.Valid(keys[:kn]):
			return nil, sysErr(illegalArgument, "event key is not UTF-8")
		}
		out = append(out, EventEntry{Flags: flags, Key: string(keys[:kn]), Codec: codec, Value: vals[:vn:vn]})
		keys, vals = keys[kn:], vals[vn:]
	}
	if len(keys) != 0 || len(vals) != 0 {
		return nil, sysErr(illegalArgument, "event buffers are not used up")
	}
	return out, nil
}

// emitEventV3 refuses: no actor of the published vectors emits events.
func emitEventV3(context.Context, *kernel, args) ([]byte, error) {
	return nil, sysErr(illegalOperation, "events of actors v10 are not supported")
}

// --- randomness ---

type randomSource func(ctx context.Context, m *Machine, epoch abi.ChainEpoch) ([32]byte, error)

func chainRandomness(ctx context.Context, m *Machine, epoch abi.ChainEpoch) ([32]byte, error) {
	return m.deps.Externs.ChainRandomness(ctx, epoch)
}

func beaconRandomness(ctx context.Context, m *Machine, epoch abi.ChainEpoch) ([32]byte, error) {
	return m.deps.Externs.BeaconRandomness(ctx, epoch)
}

func (k *kernel) digest(ctx context.Context, src randomSource, epoch abi.ChainEpoch, entropy int) ([]byte, error) {
	lookback := int64(k.cm.m.cfg.Epoch) - int64(epoch)
	if err := k.cm.gas.Charge(k.cm.prices.Randomness(lookback, entropy)); err != nil {
		return nil, err
	}
	if lookback < 0 {
		return nil, sysErr(illegalArgument, "randomness of epoch %d asked at %d", epoch, k.cm.m.cfg.Epoch)
	}
	d, err := src(ctx, k.cm.m, epoch)
	if err != nil {
		return nil, sysErr(illegalArgument, "randomness of epoch %d: %v", epoch, err)
	}
	return d[:], nil
}

func randomness(src randomSource) syscall {
	return func(ctx context.Context, k *kernel, a args) ([]byte, error) {
		return k.digest(ctx, src, abi.ChainEpoch(a.i64(0)), 0)
	}
}

// drawV3 mixes tag, epoch and entropy in the host, as FVM 3 did.
func drawV3(src randomSource) syscall {
	return func(ctx context.Context, k *kernel, a args) ([]byte, error) {
		entropy, err := k.read(a.u32(2), a.u32(3))
		if err != nil {
			return nil, err
		}
		d, err := k.digest(ctx, src, abi.ChainEpoch(a.i64(1)), len(entropy))
		if err != nil {
			return nil, err
		}
		var b [48]byte
		putBE(b[:8], a[0])
		copy(b[8:40], d)
		putBE(b[40:], a[1])
		h := blake256(append(b[:], entropy...))
		return h[:], nil
	}
}

// --- debug and gas ---

func debugEnabled(_ context.Context, k *kernel, _ args) ([]byte, error) {
	return valid(k.cm.m.cfg.Trace), nil
}

func debugLog(_ context.Context, k *kernel, a args) ([]byte, error) {
	b, err := k.read(a.u32(0), min(a.u32(1), 4096))
	if err != nil {
		return nil, err
	}
	k.cm.m.engine.log.Debug("actor log", "actor", uint64(k.to), "text", string(b))
	return nil, nil
}

func gasAvailable(_ context.Context, k *kernel, _ args) ([]byte, error) {
	return le64(uint64(k.cm.gas.Available() / 1000)), nil
}

func gasCharge(_ context.Context, k *kernel, a args) ([]byte, error) {
	if _, err := k.read(a.u32(0), a.u32(1)); err != nil {
		return nil, err
	}
	if a.i64(2) < 0 {
		return nil, sysErr(illegalArgument, "negative gas charge")
	}
	return nil, k.cm.gas.Charge(gas.Gas(a.i64(2)))
}
