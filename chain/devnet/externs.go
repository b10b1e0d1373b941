package devnet

import (
	"bytes"
	"context"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/chain/fvm"
	"quarry/internal/filcrypto"
)

// externs is what actors may ask of the chain, as seen from one tipset.
type externs struct {
	chainRand
	faults *faultChecker
}

var _ fvm.Externs = (*externs)(nil)

// TipsetCID names the tipset at an epoch.
func (e *externs) TipsetCID(ctx context.Context, epoch abi.ChainEpoch) (cid.Cid, error) {
	ts, err := e.l.atOrBefore(ctx, e.ts, epoch)
	if err != nil {
		return cid.Undef, err
	}
	return ts.Key().Cid(), nil
}

// ConsensusFault examines two headers; nil when they prove nothing.
func (e *externs) ConsensusFault(ctx context.Context, h1, h2, extra []byte) (*fvm.ConsensusFault, error) {
	return e.faults.check(ctx, e.ts, h1, h2, extra)
}

// faultChecker follows lotus chain/vm/syscalls.go VerifyConsensusFault.
type faultChecker struct {
	workerAt func(ctx context.Context, base *api.TipSet, maddr address.Address, round abi.ChainEpoch) (address.Address, error)
}

// Fault kinds (specs-actors runtime).
const (
	faultDoubleFork     = 1
	faultParentGrinding = 2
	faultTimeOffset     = 3
)

func (f *faultChecker) check(ctx context.Context, base *api.TipSet, h1, h2, extra []byte) (*fvm.ConsensusFault, error) {
	if bytes.Equal(h1, h2) {
		return nil, nil
	}
	a, err := api.DecodeBlockHeader(h1)
	if err != nil {
		return nil, nil
	}
	b, err := api.DecodeBlockHeader(h2)
	if err != nil {
		return nil, nil
	}
	if a.Miner != b.Miner || a.Height > b.Height {
		return nil, nil
	}
	kind := faultKind(a, b, extra)
	if kind == 0 {
		return nil, nil
	}
	for _, h := range []*api.BlockHeader{a, b} {
		worker, err := f.workerAt(ctx, base, h.Miner, h.Height)
		if err != nil {
			return nil, fmt.Errorf("worker of %s: %w", h.Miner, err)
		}
		if verifyHeader(h, worker) != nil {
			return nil, nil
		}
	}
	id, err := address.IDFromAddress(a.Miner)
	if err != nil {
		return nil, nil
	}
	return &fvm.ConsensusFault{Epoch: b.Height, Target: abi.ActorID(id), Kind: kind}, nil
}

func faultKind(a, b *api.BlockHeader, extra []byte) uint32 {
	same := api.TipSetKey(a.Parents).Equal(b.Parents)
	var kind uint32
	if a.Height == b.Height {
		kind = faultDoubleFork
	}
	if same && a.Height != b.Height {
		kind = faultTimeOffset
	}
	if len(extra) == 0 {
		return kind
	}
	c, err := api.DecodeBlockHeader(extra)
	if err != nil {
		return 0
	}
	if api.TipSetKey(a.Parents).Equal(c.Parents) && a.Height == c.Height && hasCid(b.Parents, c.Cid()) && !hasCid(b.Parents, a.Cid()) {
		return faultParentGrinding
	}
	return kind
}

func hasCid(cs []cid.Cid, c cid.Cid) bool {
	for _, x := range cs {
		if x == c {
			return true
		}
	}
	return false
}

// verifyHeader checks the block signature of a worker key.
func verifyHeader(h *api.BlockHeader, worker address.Address) error {
	if h.BlockSig == nil {
		return fmt.Errorf("block %s is not signed", h.Cid())
	}
	msg, err := h.SigningBytes()
	if err != nil {
		return fmt.Errorf("encode header: %w", err)
	}
	return filcrypto.Verify(h.BlockSig, worker, msg)
}
