package fvm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"
	cbg "github.com/whyrusleeping/cbor-gen"
	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/ripemd160" // a hash that actors may ask for
	"golang.org/x/crypto/sha3"

	"quarry/chain/fvm/gas"
	"quarry/internal/filcrypto"
)

func cryptoHash(_ context.Context, k *kernel, a args) ([]byte, error) {
	data, err := k.read(a.u32(1), a.u32(2))
	if err != nil {
		return nil, err
	}
	if err := k.window(a.u32(3), a.u32(4)); err != nil {
		return nil, err
	}
	price, ok := gas.Hash(a[0], len(data))
	if !ok {
		return nil, sysErr(illegalArgument, "unknown hash %#x", a[0])
	}
	if err := k.cm.gas.Charge(price); err != nil {
		return nil, err
	}
	d := digest(a[0], data)
	d = d[:min(len(d), int(a.u32(4)))]
	return k.write(a.u32(3), a.u32(4), d)
}

func digest(code uint64, data []byte) []byte {
	switch code {
	case 0x12:
		d := sha256.Sum256(data)
		return d[:]
	case 0xb220:
		d := blake2b.Sum256(data)
		return d[:]
	case 0xb240:
		d := blake2b.Sum512(data)
		return d[:]
	case 0x1b:
		h := sha3.NewLegacyKeccak256()
		h.Write(data)
		return h.Sum(nil)
	default: // gas.Hash admits only 0x1053 beside these
		h := ripemd160.New()
		h.Write(data)
		return h.Sum(nil)
	}
}

func verifySignature(_ context.Context, k *kernel, a args) ([]byte, error) {
	t := crypto.SigType(a.u32(0))
	sig, err := k.read(a.u32(1), a.u32(2))
	if err != nil {
		return nil, err
	}
	addr, err := k.readAddress(a.u32(3), a.u32(4))
	if err != nil {
		return nil, err
	}
	msg, err := k.read(a.u32(5), a.u32(6))
	if err != nil {
		return nil, err
	}
	price := gas.SecpVerify(len(msg))
	switch a.u32(0) {
	case uint32(crypto.SigTypeBLS):
		price = gas.BLSVerify(len(msg))
	case uint32(crypto.SigTypeSecp256k1):
	default:
		return nil, sysErr(illegalArgument, "signature type %d is not supported", a.u32(0))
	}
	if p := addr.Protocol(); p != address.BLS && p != address.SECP256K1 {
		return nil, sysErr(illegalArgument, "%s is not a key address", addr)
	}
	if err := k.cm.gas.Charge(price); err != nil {
		return nil, err
	}
	err = filcrypto.Verify(&crypto.Signature{Type: t, Data: sig}, addr, msg)
	return valid(err == nil), nil
}

func recoverSecp(_ context.Context, k *kernel, a args) ([]byte, error) {
	hash, err := k.read(a.u32(0), 32)
	if err != nil {
		return nil, err
	}
	sig, err := k.read(a.u32(1), filcrypto.SecpSignatureBytes)
	if err != nil {
		return nil, err
	}
	if err := k.cm.gas.Charge(gas.RecoverSecp); err != nil {
		return nil, err
	}
	pub, err := filcrypto.RecoverSecp(hash, sig)
	if err != nil {
		return nil, sysErr(illegalArgument, "%v", err)
	}
	return pub, nil
}

func unsealedCid(_ context.Context, k *kernel, a args) ([]byte, error) {
	raw, err := k.read(a.u32(1), a.u32(2))
	if err != nil {
		return nil, err
	}
	if err := k.window(a.u32(3), a.u32(4)); err != nil {
		return nil, err
	}
	if err := k.cm.gas.Charge(gas.CommD); err != nil {
		return nil, err
	}
	pieces, err := decodePieces(raw)
	if err != nil {
		return nil, sysErr(illegalArgument, "pieces: %v", err)
	}
	c, err := UnsealedCID(abi.RegisteredSealProof(a.i64(0)), pieces)
	if err != nil {
		return nil, sysErr(illegalArgument, "%v", err)
	}
	return k.write(a.u32(3), a.u32(4), c.Bytes())
}

func decodePieces(raw []byte) ([]abi.PieceInfo, error) {
	r := cbg.NewCborReader(bytes.NewReader(raw))
	maj, n, err := r.ReadHeader()
	if err != nil || maj != cbg.MajArray || n > uint64(len(raw)) {
		return nil, errors.New("not a list")
	}
	out := make([]abi.PieceInfo, n)
	for i := range out {
		if err := out[i].UnmarshalCBOR(r); err != nil {
			return nil, fmt.Errorf("piece %d: %w", i, err)
		}
	}
	return out, nil
}

func verifyFault(ctx context.Context, k *kernel, a args) ([]byte, error) {
	var in [3][]byte
	for i := range in {
		b, err := k.read(a.u32(2*i), a.u32(2*i+1))
		if err != nil {
			return nil, err
		}
		in[i] = b
	}
	if err := k.cm.gas.Charge(gas.ConsensusFault); err != nil {
		return nil, err
	}
	f, err := k.cm.m.deps.Externs.ConsensusFault(ctx, in[0], in[1], in[2])
	if err != nil {
		return nil, sysErr(illegalArgument, "consensus fault: %v", err)
	}
	out := make([]byte, 20)
	if f != nil {
		binary.LittleEndian.PutUint64(out, uint64(f.Epoch))
		binary.LittleEndian.PutUint64(out[8:], uint64(f.Target))
		binary.LittleEndian.PutUint32(out[16:], f.Kind)
	}
	return out, nil
}
