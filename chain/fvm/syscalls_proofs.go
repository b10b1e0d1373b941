package fvm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/chain/fvm/gas"
)

// proofInput reads and decodes a CBOR argument; failures are the actor's.
func (k *kernel) proofInput(ptr, n uint32, into cbg.CBORUnmarshaler) error {
	raw, err := k.read(ptr, n)
	if err != nil {
		return err
	}
	if err := into.UnmarshalCBOR(bytes.NewReader(raw)); err != nil {
		return sysErr(illegalArgument, "decode %T: %v", into, err)
	}
	return nil
}

// guard turns a panic inside a verifier into an error: a proof that breaks the
// verifier is not a valid one, and must not stop the node.
func guard(f func() (bool, error)) (ok bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			ok, err = false, fmt.Errorf("verifier panicked: %v", p)
		}
	}()
	return f()
}

// answer packs a verdict. A cancelled context is a host failure, not a verdict.
func answer(ctx context.Context, ok bool, err error) ([]byte, error) {
	if cerr := ctx.Err(); cerr != nil {
		return nil, fmt.Errorf("proof check stopped: %w", cerr)
	}
	if err != nil {
		return nil, sysErr(illegalArgument, "proof check: %v", err)
	}
	return valid(ok), nil
}

func verifyPoSt(ctx context.Context, k *kernel, a args) ([]byte, error) {
	info, err := k.windowPoStInput(a.u32(0), a.u32(1))
	if err != nil {
		return nil, err
	}
	if err := k.cm.gas.Charge(gas.WindowPoSt(len(info.ChallengedSectors))); err != nil {
		return nil, err
	}
	ok, err := guard(func() (bool, error) { return k.cm.m.deps.Proofs.WindowPoSt(ctx, *info) })
	return answer(ctx, ok, err)
}

// windowPoStInput decodes without the element limit of the generated codec,
// which a dispute over a full partition of 2349 sectors times four exceeds.
func (k *kernel) windowPoStInput(ptr, n uint32) (*proof.WindowPoStVerifyInfo, error) {
	raw, err := k.read(ptr, n)
	if err != nil {
		return nil, err
	}
	info, err := decodeWindowPoSt(raw)
	if err != nil {
		return nil, sysErr(illegalArgument, "decode window PoSt: %v", err)
	}
	return info, nil
}

func decodeWindowPoSt(raw []byte) (*proof.WindowPoStVerifyInfo, error) {
	r := cbg.NewCborReader(bytes.NewReader(raw))
	if maj, n, err := r.ReadHeader(); err != nil || maj != cbg.MajArray || n != 4 {
		return nil, errors.New("not an array of four")
	}
	var out proof.WindowPoStVerifyInfo
	var err error
	if out.Randomness, err = cbg.ReadByteArray(r, 64); err != nil {
		return nil, fmt.Errorf("randomness: %w", err)
	}
	n, err := listLen(r, len(raw))
	if err != nil {
		return nil, fmt.Errorf("proofs: %w", err)
	}
	out.Proofs = make([]proof.PoStProof, n)
	for i := range out.Proofs {
		if err := out.Proofs[i].UnmarshalCBOR(r); err != nil {
			return nil, fmt.Errorf("proof %d: %w", i, err)
		}
	}
	if n, err = listLen(r, len(raw)); err != nil {
		return nil, fmt.Errorf("sectors: %w", err)
	}
	out.ChallengedSectors = make([]proof.SectorInfo, n)
	for i := range out.ChallengedSectors {
		if err := out.ChallengedSectors[i].UnmarshalCBOR(r); err != nil {
			return nil, fmt.Errorf("sector %d: %w", i, err)
		}
	}
	maj, id, err := r.ReadHeader()
	if err != nil || maj != cbg.MajUnsignedInt {
		return nil, errors.New("prover id")
	}
	out.Prover = abi.ActorID(id)
	return &out, nil
}

// listLen reads an array header whose elements take at least a byte each.
func listLen(r *cbg.CborReader, limit int) (uint64, error) {
	maj, n, err := r.ReadHeader()
	if err != nil {
		return 0, err
	}
	if maj != cbg.MajArray || n > uint64(limit) {
		return 0, errors.New("not a list that fits its input")
	}
	return n, nil
}

func verifyAggregate(ctx context.Context, k *kernel, a args) ([]byte, error) {
	var info proof.AggregateSealVerifyProofAndInfos
	if err := k.proofInput(a.u32(0), a.u32(1), &info); err != nil {
		return nil, err
	}
	if err := k.cm.gas.Charge(gas.Aggregate(info.SealProof, len(info.Infos))); err != nil {
		return nil, err
	}
	ok, err := guard(func() (bool, error) { return k.cm.m.deps.Proofs.Aggregate(ctx, info) })
	return answer(ctx, ok, err)
}

func verifyUpdate(ctx context.Context, k *kernel, a args) ([]byte, error) {
	raw, err := k.read(a.u32(0), a.u32(1))
	if err != nil {
		return nil, err
	}
	info, err := decodeReplicaUpdate(raw)
	if err != nil {
		return nil, sysErr(illegalArgument, "decode replica update: %v", err)
	}
	if err := k.cm.gas.Charge(gas.ReplicaUpdate); err != nil {
		return nil, err
	}
	ok, err := guard(func() (bool, error) { return k.cm.m.deps.Proofs.ReplicaUpdate(ctx, *info) })
	return answer(ctx, ok, err)
}

// decodeReplicaUpdate reads the tuple whose proof is an array of integers, one
// per byte (fvm_shared sector/proof.rs derives it so), or a byte string.
func decodeReplicaUpdate(raw []byte) (*proof.ReplicaUpdateInfo, error) {
	r := cbg.NewCborReader(bytes.NewReader(raw))
	if maj, n, err := r.ReadHeader(); err != nil || maj != cbg.MajArray || n != 5 {
		return nil, errors.New("not an array of five")
	}
	var out proof.ReplicaUpdateInfo
	maj, t, err := r.ReadHeader()
	if err != nil || maj != cbg.MajUnsignedInt {
		return nil, errors.New("proof type")
	}
	out.UpdateProofType = abi.RegisteredUpdateProof(t)
	for _, c := range []*cid.Cid{&out.OldSealedSectorCID, &out.NewSealedSectorCID, &out.NewUnsealedSectorCID} {
		if *c, err = cbg.ReadCid(r); err != nil {
			return nil, fmt.Errorf("commitment: %w", err)
		}
	}
	maj, n, err := r.ReadHeader()
	if err != nil || n > uint64(len(raw)) || (maj != cbg.MajArray && maj != cbg.MajByteString) {
		return nil, errors.New("proof bytes")
	}
	out.Proof = make([]byte, n)
	if maj == cbg.MajByteString {
		if _, err = io.ReadFull(r, out.Proof); err != nil {
			return nil, fmt.Errorf("proof bytes: %w", err)
		}
		return &out, nil
	}
	for i := range out.Proof {
		maj, v, err := r.ReadHeader()
		if err != nil || maj != cbg.MajUnsignedInt || v > 255 {
			return nil, fmt.Errorf("proof byte %d", i)
		}
		out.Proof[i] = byte(v)
	}
	return &out, nil
}

// verifySeals checks a batch, a few proofs at a time, and writes one byte per
// seal: 1 valid, 0 not.
func verifySeals(ctx context.Context, k *kernel, a args) ([]byte, error) {
	raw, err := k.read(a.u32(0), a.u32(1))
	if err != nil {
		return nil, err
	}
	infos, err := decodeSeals(raw)
	if err != nil {
		return nil, sysErr(illegalArgument, "decode seals: %v", err)
	}
	if err := k.window(a.u32(2), uint32(len(infos))); err != nil {
		return nil, err
	}
	if err := k.cm.gas.Charge(k.cm.prices.Seals(len(infos))); err != nil {
		return nil, err
	}
	out := k.cm.m.verifyAll(ctx, infos)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("seal checks stopped: %w", err)
	}
	k.mem.Write(a.u32(2), out)
	return nil, nil
}

const parallelSeals = 4

func (m *Machine) verifyAll(ctx context.Context, infos []proof.SealVerifyInfo) []byte {
	out := make([]byte, len(infos))
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallelSeals)
	for i := range infos {
		slots <- struct{}{}
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer func() { <-slots }()
			ok, err := guard(func() (bool, error) { return m.deps.Proofs.Seal(ctx, infos[i]) })
			if err != nil {
				m.engine.log.Warn("seal proof not checked", "miner", uint64(infos[i].Miner), "sector", uint64(infos[i].Number),
					"error", err)
			}
			if ok && err == nil {
				out[i] = 1
			}
		}()
	}
	wg.Wait()
	return out
}

func decodeSeals(raw []byte) ([]proof.SealVerifyInfo, error) {
	r := cbg.NewCborReader(bytes.NewReader(raw))
	n, err := listLen(r, len(raw))
	if err != nil {
		return nil, err
	}
	out := make([]proof.SealVerifyInfo, n)
	for i := range out {
		if err := out[i].UnmarshalCBOR(r); err != nil {
			return nil, fmt.Errorf("seal %d: %w", i, err)
		}
	}
	return out, nil
}
