package devnet

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/internal/filcrypto"
)

// MinerGetBaseInfo implements api.Chain: it waits until the epoch opens, because
// the answer has its randomness.
func (n *Node) MinerGetBaseInfo(
	ctx context.Context, a address.Address, epoch abi.ChainEpoch, tsk api.TipSetKey,
) (*api.MiningBaseInfo, error) {
	base, err := n.ledger.tipset(ctx, tsk)
	if err != nil {
		return nil, err
	}
	if err := n.waitEpoch(ctx, epoch); err != nil {
		return nil, fmt.Errorf("wait for epoch %d: %w", epoch, err)
	}
	return n.cons.baseInfo(ctx, a, epoch, base)
}

// MinerCreateBlock implements api.Chain: it fills what follows from the parents
// and signs with the worker key, which must be in this node's wallet.
func (n *Node) MinerCreateBlock(ctx context.Context, t *api.BlockTemplate) (*api.BlockMsg, error) {
	if t == nil || t.Ticket == nil || t.Eproof == nil || len(t.Parents) == 0 {
		return nil, &api.ErrInvalid{What: "block template", Reason: "parents, ticket or election proof is missing"}
	}
	base, err := n.ledger.tipset(ctx, t.Parents)
	if err != nil {
		return nil, err
	}
	o, err := n.exec.after(ctx, base)
	if err != nil {
		return nil, err
	}
	worker, err := n.cons.worker(ctx, base, t.Miner, t.Epoch)
	if err != nil {
		return nil, fmt.Errorf("worker of %s: %w", t.Miner, err)
	}
	weight, err := n.cons.weight(ctx, base)
	if err != nil {
		return nil, err
	}
	fee, err := n.baseFee(ctx, base)
	if err != nil {
		return nil, err
	}
	bm := &api.BlockMsg{BlsMessages: []cid.Cid{}, SecpkMessages: []cid.Cid{}}
	agg, err := n.splitMessages(ctx, t.Messages, bm)
	if err != nil {
		return nil, err
	}
	meta, err := n.ledger.storeMeta(ctx, bm.BlsMessages, bm.SecpkMessages)
	if err != nil {
		return nil, err
	}
	bm.Header = &api.BlockHeader{
		Miner:                 t.Miner,
		Ticket:                t.Ticket,
		ElectionProof:         t.Eproof,
		BeaconEntries:         t.BeaconValues,
		WinPoStProof:          t.WinningPoStProof,
		Parents:               t.Parents,
		ParentWeight:          weight,
		Height:                t.Epoch,
		ParentStateRoot:       o.State,
		ParentMessageReceipts: o.Receipts,
		Messages:              meta,
		BLSAggregate:          agg,
		Timestamp:             t.Timestamp,
		ParentBaseFee:         fee,
	}
	msg, err := bm.Header.SigningBytes()
	if err != nil {
		return nil, fmt.Errorf("encode header: %w", err)
	}
	if bm.Header.BlockSig, err = n.wallet.Sign(ctx, worker, msg); err != nil {
		return nil, fmt.Errorf("sign block: %w", err)
	}
	return bm, nil
}

// splitMessages sorts messages into the two lists, stores them, and aggregates
// the BLS signatures.
func (n *Node) splitMessages(ctx context.Context, msgs []*api.SignedMessage, bm *api.BlockMsg) (*crypto.Signature, error) {
	var sigs [][]byte
	for i, s := range msgs {
		if s == nil {
			return nil, &api.ErrInvalid{What: fmt.Sprintf("message %d of the block", i), Reason: "none given"}
		}
		if err := complete(&s.Message); err != nil {
			return nil, fmt.Errorf("message %d of the block: %w", i, err)
		}
		switch s.Signature.Type {
		case crypto.SigTypeBLS:
			bm.BlsMessages = append(bm.BlsMessages, s.Cid())
			sigs = append(sigs, s.Signature.Data)
		case crypto.SigTypeSecp256k1:
			bm.SecpkMessages = append(bm.SecpkMessages, s.Cid())
		default:
			return nil, &api.ErrInvalid{
				What:   "message " + s.Cid().String(),
				Reason: fmt.Sprintf("signature type %d is not supported in blocks", s.Signature.Type),
			}
		}
		if err := n.ledger.storeMessage(ctx, s); err != nil {
			return nil, err
		}
	}
	data, err := filcrypto.AggregateBLS(sigs)
	if err != nil {
		return nil, fmt.Errorf("aggregate signatures: %w", err)
	}
	return &crypto.Signature{Type: crypto.SigTypeBLS, Data: data}, nil
}

// SyncSubmitBlock implements api.Chain.
func (n *Node) SyncSubmitBlock(ctx context.Context, b *api.BlockMsg) error { return n.Submit(ctx, b) }

// SyncState implements api.Chain: always complete.
func (n *Node) SyncState(context.Context) (json.RawMessage, error) {
	head := n.ledger.Head()
	return json.Marshal(map[string]any{"ActiveSyncs": []any{map[string]any{
		"WorkerID": 0, "Base": nil, "Target": head, "Stage": 4, "Height": head.Height,
		"Start": "0001-01-01T00:00:00Z", "End": "0001-01-01T00:00:00Z", "Message": ""}}, "VMApplied": 0})
}

// StateGetBeaconEntry implements api.Chain: it waits until the epoch opens.
func (n *Node) StateGetBeaconEntry(ctx context.Context, epoch abi.ChainEpoch) (*api.BeaconEntry, error) {
	if err := n.waitEpoch(ctx, epoch); err != nil {
		return nil, err
	}
	e, err := n.beacon.entry(epoch)
	return &e, err
}

// StateGetRandomnessFromTickets implements api.Chain.
func (n *Node) StateGetRandomnessFromTickets(
	ctx context.Context, tag crypto.DomainSeparationTag, epoch abi.ChainEpoch, entropy []byte, tsk api.TipSetKey,
) (abi.Randomness, error) {
	ts, err := n.ledger.tipset(ctx, tsk)
	if err != nil {
		return nil, err
	}
	d, err := (&chainRand{l: n.ledger, b: n.beacon, ts: ts}).ChainRandomness(ctx, epoch)
	if err != nil {
		return nil, err
	}
	return drawDigest(d, tag, epoch, entropy), nil
}

// StateGetRandomnessFromBeacon implements api.Chain.
func (n *Node) StateGetRandomnessFromBeacon(
	ctx context.Context, tag crypto.DomainSeparationTag, epoch abi.ChainEpoch, entropy []byte, tsk api.TipSetKey,
) (abi.Randomness, error) {
	ts, err := n.ledger.tipset(ctx, tsk)
	if err != nil {
		return nil, err
	}
	d, err := (&chainRand{l: n.ledger, b: n.beacon, ts: ts, allow: ts.Height}).BeaconRandomness(ctx, epoch)
	if err != nil {
		return nil, err
	}
	return drawDigest(d, tag, epoch, entropy), nil
}

// DevnetStatus implements api.Devnet.
func (n *Node) DevnetStatus(ctx context.Context) (api.NodeStatusDevnet, error) {
	v, err := n.headView(ctx)
	if err != nil {
		return api.NodeStatusDevnet{}, err
	}
	ms, err := listMiners(ctx, v)
	return api.NodeStatusDevnet{
		NetworkName: n.params.NetworkName,
		Height:      n.Epoch(),
		PaceMillis:  n.pace.Load() / 1e6,
		ProofKinds:  n.ProofKinds(),
		Warping:     n.warping.Load(),
		Miners:      len(ms),
	}, err
}

// DevnetFund implements api.Devnet.
func (n *Node) DevnetFund(ctx context.Context, to address.Address, amount abi.TokenAmount) (cid.Cid, error) {
	if amount.Int == nil || amount.Sign() <= 0 {
		return cid.Undef, &api.ErrInvalid{What: "amount", Reason: "it must be above zero"}
	}
	s, err := n.MpoolPushMessage(ctx, &api.Message{
		To:         to,
		From:       n.faucetKey(),
		Value:      amount,
		GasFeeCap:  big.Zero(),
		GasPremium: big.Zero(),
	}, nil)
	if err != nil {
		return cid.Undef, err
	}
	return s.Cid(), nil
}
