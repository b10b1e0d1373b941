package sealing

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/batch"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/chain/msgs"
	"quarry/proofs/commp"
	"quarry/proofs/envelope"
)

// Send executes the message at once, one epoch later.
func (w *world) Send(ctx context.Context, key string, m *api.Message) (c cid.Cid, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.reach(ctx, "Send"); err != nil {
		return cid.Undef, err
	}
	if c, ok := w.keyed[key]; ok {
		return c, nil
	}
	if w.refuse != nil {
		if err := w.refuse(m); err != nil {
			return cid.Undef, err
		}
	}
	if w.lost > 0 { // it went out, and nobody was told
		w.lost--
		defer func() { c, err = cid.Undef, &api.ErrUnreachable{Peer: "Send", Reason: "the answer was lost"} }()
	}
	sent := *m
	sent.Nonce = uint64(len(w.keyed))
	c = sent.Cid()
	w.keyed[key] = c
	w.advance(w.height + 1)
	var bad misdeed
	if q := w.exits[m.Method]; len(q) > 0 {
		bad, w.exits[m.Method] = q[0], q[1:]
	}
	look := &api.MsgLookup{Message: c, Height: w.height + 1}
	w.lookups[c] = look
	switch {
	case bad.codes != nil:
		look.Receipt.Return = encode(&batch.BatchReturn{FailCodes: bad.codes})
		return c, nil
	case bad.exit != 0 && !bad.stored:
		look.Receipt.ExitCode = bad.exit
		return c, nil
	}
	err = w.execute(&sent)
	var some partly
	if errors.As(err, &some) {
		look.Receipt.Return = encode(&batch.BatchReturn{FailCodes: some.codes})
		return c, nil
	}
	if err != nil {
		w.faults = append(w.faults, err)
		look.Receipt.ExitCode = exitcode.ErrIllegalArgument
		look.Receipt.Return = []byte(err.Error())
		return c, nil
	}
	look.Receipt.ExitCode = bad.exit
	look.Receipt.Return = encode(&batch.BatchReturn{SuccessCount: 1})
	return c, nil
}

func (w *world) Wait(ctx context.Context, c cid.Cid) (*api.MsgLookup, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.reach(ctx, "Wait"); err != nil {
		return nil, err
	}
	if w.replaced > 0 {
		w.replaced--
		return nil, fmt.Errorf("message %s: %w", c, msgs.ErrReplaced)
	}
	return w.lookups[c], nil
}

func encode(b *batch.BatchReturn) []byte {
	var out bytes.Buffer
	if err := b.MarshalCBOR(&out); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// execute does what the miner actor does, as far as sealing can get it wrong.
func (w *world) execute(m *api.Message) error {
	w.executed[m.Method]++
	switch m.Method {
	case 28:
		var p miner.PreCommitSectorBatchParams2
		if err := p.UnmarshalCBOR(bytes.NewReader(m.Params)); err != nil {
			return err
		}
		for i, s := range p.Sectors { // all or nothing
			if err := w.checkPreCommit(s, big.Div(m.Value, big.NewInt(int64(len(p.Sectors))))); err != nil {
				return fmt.Errorf("sector %d of the message: %w", i, err)
			}
		}
		for _, s := range p.Sectors {
			w.preCommit(s)
		}
		return nil
	case 34:
		var p miner.ProveCommitSectors3Params
		if err := p.UnmarshalCBOR(bytes.NewReader(m.Params)); err != nil {
			return err
		}
		return w.proveCommits(p, m.Value)
	case 35:
		var p miner.ProveReplicaUpdates3Params
		if err := p.UnmarshalCBOR(bytes.NewReader(m.Params)); err != nil {
			return err
		}
		return w.proveUpdate(p, m.Value)
	}
	return fmt.Errorf("method %d", m.Method)
}

func (w *world) checkPreCommit(i miner.SectorPreCommitInfo, value abi.TokenAmount) error {
	active := w.height + maxProveCommit + testDelay
	switch {
	case w.allocated[i.SectorNumber]:
		return errors.New("number allocated")
	case i.SealRandEpoch >= w.height || i.SealRandEpoch < w.height-3780:
		return errors.New("ticket epoch")
	case i.Expiration-active < 180*2880 || i.Expiration > w.height+1278*2880:
		return errors.New("expiration")
	case value.LessThan(big.NewInt(700)):
		return errors.New("deposit")
	}
	return nil
}

func (w *world) preCommit(i miner.SectorPreCommitInfo) {
	w.allocated[i.SectorNumber] = true
	w.pre[i.SectorNumber] = &miner.SectorPreCommitOnChainInfo{Info: i, PreCommitDeposit: big.NewInt(700), PreCommitEpoch: w.height}
}

// partly is the outcome of a message of which only some sectors took effect.
type partly struct{ codes []batch.FailCode }

func (partly) Error() string { return "some sectors were refused" }

func (w *world) proveCommits(p miner.ProveCommitSectors3Params, value abi.TokenAmount) error {
	var bad partly
	n := len(p.SectorActivations)
	for i, a := range p.SectorActivations {
		one := p
		one.SectorActivations, one.SectorProofs = []miner.SectorActivationManifest{a}, p.SectorProofs[i:i+1]
		err := w.proveCommit(one, big.Div(value, big.NewInt(int64(n))))
		if err != nil && (p.RequireActivationSuccess || n == 1) {
			return err
		}
		if err != nil {
			bad.codes = append(bad.codes, batch.FailCode{Idx: uint64(i), Code: exitcode.ErrIllegalArgument})
		}
	}
	if len(bad.codes) > 0 {
		return bad
	}
	return nil
}

func (w *world) proveCommit(p miner.ProveCommitSectors3Params, value abi.TokenAmount) error {
	a := p.SectorActivations[0]
	pre := w.pre[a.SectorNumber]
	if pre == nil || w.height <= pre.PreCommitEpoch+testDelay {
		return errors.New("no pre-commitment or too early")
	}
	var infos []abi.PieceInfo
	for _, q := range a.Pieces {
		infos = append(infos, abi.PieceInfo{PieceCID: q.CID, Size: q.Size})
	}
	got, err := commp.CommD(w.proof, infos)
	if err != nil {
		return err
	}
	size, _ := w.proof.SectorSize()
	want := commp.ZeroPiece(abi.PaddedPieceSize(size))
	if pre.Info.UnsealedCid != nil {
		want = *pre.Info.UnsealedCid
	}
	blob, isEnvelope := envelope.Parse(p.SectorProofs[0])
	vanilla := fmt.Sprintf("vanilla %x", draw(crypto.DomainSeparationTag_InteractiveSealChallengeSeed, pre.PreCommitEpoch+testDelay,
		minerEntropy()))
	switch {
	case got != want:
		return errors.New("CommD")
	case w.groth16 && !bytes.Equal(p.SectorProofs[0], fakeGroth16([]byte(vanilla))):
		return errors.New("not the Groth16 proof of this sector")
	case w.groth16:
	case !isEnvelope || w.blobs[blob] == nil:
		return errors.New("proof blob is not on the node")
	case w.verifyWith != nil:
		if err := w.verifyWith(pre, abi.PieceInfo{PieceCID: got}, w.blobs[blob]); err != nil {
			return err
		}
	case string(w.blobs[blob]) != vanilla:
		return errors.New("invalid proof")
	}
	if value.LessThan(big.NewInt(300)) {
		return errors.New("pledge")
	}
	delete(w.pre, a.SectorNumber)
	w.commits = append(w.commits, p)
	w.sectors[a.SectorNumber] = &miner.SectorOnChainInfo{
		SectorNumber:  a.SectorNumber,
		SealedCID:     pre.Info.SealedCID,
		Activation:    w.height,
		Expiration:    pre.Info.Expiration,
		InitialPledge: big.NewInt(oldPledge),
	}
	return nil
}
