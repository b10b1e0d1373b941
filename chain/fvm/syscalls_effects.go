package fvm

import (
	"context"
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/chain/fvm/gas"
	"quarry/chain/fvm/links"
)

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
		return k.cm.call(ctx, send{
			from:     k.to,
			to:       addr,
			method:   abi.MethodNum(a[2]),
			params:   params,
			value:    value,
			readOnly: ro,
		}, limit)
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

// debugEnabled is never true: actors would spend gas on messages that the network
// does not have.
func debugEnabled(context.Context, *kernel, args) ([]byte, error) { return valid(false), nil }

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
