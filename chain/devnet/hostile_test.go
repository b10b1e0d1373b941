package devnet

import (
	"errors"
	"fmt"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"

	"quarry/api"
)

// Calls that lack what they are about are refused; none of them panics, which a
// node that shares its process with a miner would not survive.
func TestEmptyCallsAreRefused(t *testing.T) {
	n := newFixture(t, "one").open(t)
	step(t, n, 2)
	ctx, head := t.Context(), n.ledger.Head()
	worker, undef, none := n.params.Worker, address.Undef, cid.Undef
	tm, err := n.genesis.prepare(ctx, head, head.Height+1)
	if err != nil || tm == nil {
		t.Fatal("no win", err)
	}
	template := func(m *api.SignedMessage) *api.BlockTemplate {
		c := *tm
		c.Messages = []*api.SignedMessage{m}
		return &c
	}
	signed := func(from, to address.Address) *api.SignedMessage {
		return &api.SignedMessage{Message: api.Message{From: from, To: to},
			Signature: crypto.Signature{Type: crypto.SigTypeBLS, Data: make([]byte, 96)}}
	}
	for name, call := range map[string]func() error{
		"push nothing":           func() error { _, err := n.MpoolPush(ctx, nil); return err },
		"push an empty message":  func() error { _, err := n.MpoolPush(ctx, &api.SignedMessage{}); return err },
		"push without recipient": func() error { _, err := n.MpoolPush(ctx, signed(worker, undef)); return err },
		"push message":           func() error { _, err := n.MpoolPushMessage(ctx, &api.Message{}, nil); return err },
		"push message to nobody": func() error { _, err := n.MpoolPushMessage(ctx, &api.Message{From: worker}, nil); return err },
		"estimate of nothing":    func() error { _, err := n.GasEstimateGasLimit(ctx, nil, nil); return err },
		"estimate of empty":      func() error { _, err := n.GasEstimateGasLimit(ctx, &api.Message{}, nil); return err },
		"estimate without to":    func() error { _, err := n.GasEstimateGasLimit(ctx, &api.Message{From: worker}, nil); return err },
		"message gas of nothing": func() error { _, err := n.GasEstimateMessageGas(ctx, nil, nil, nil); return err },
		"call of nothing":        func() error { _, err := n.StateCall(ctx, nil, nil); return err },
		"call of empty":          func() error { _, err := n.StateCall(ctx, &api.Message{}, nil); return err },
		"call without recipient": func() error { _, err := n.StateCall(ctx, &api.Message{From: worker}, nil); return err },
		"sign nothing":           func() error { _, err := n.WalletSignMessage(ctx, worker, nil); return err },
		"sign an empty message":  func() error { _, err := n.WalletSignMessage(ctx, worker, &api.Message{}); return err },
		"sign by nobody":         func() error { _, err := n.WalletSign(ctx, undef, nil); return err },
		"verify with no signature": func() error {
			if ok, err := n.WalletVerify(ctx, worker, nil, nil); ok || err != nil {
				return err
			}
			return errors.New("it is not valid")
		},
		"import nothing":            func() error { _, err := n.WalletImport(ctx, nil); return err },
		"template of nothing":       func() error { _, err := n.MinerCreateBlock(ctx, nil); return err },
		"template with no message":  func() error { _, err := n.MinerCreateBlock(ctx, template(nil)); return err },
		"template, empty message":   func() error { _, err := n.MinerCreateBlock(ctx, template(&api.SignedMessage{})); return err },
		"template, message to none": func() error { _, err := n.MinerCreateBlock(ctx, template(signed(worker, undef))); return err },
		"no block":                  func() error { return n.SyncSubmitBlock(ctx, nil) },
		"no header":                 func() error { return n.SyncSubmitBlock(ctx, &api.BlockMsg{}) },
		"empty header":              func() error { return n.SyncSubmitBlock(ctx, &api.BlockMsg{Header: &api.BlockHeader{}}) },
		"block of no CID":           func() error { _, err := n.ChainGetBlock(ctx, none); return err },
		"messages of no CID":        func() error { _, err := n.ChainGetBlockMessages(ctx, none); return err },
		"object of no CID":          func() error { _, err := n.ChainReadObj(ctx, none); return err },
		"message of no CID":         func() error { _, err := n.ChainGetMessage(ctx, none); return err },
		"tipset of no CID":          func() error { _, err := n.ChainGetTipSet(ctx, api.TipSetKey{none}); return err },
		"wait for no CID":           func() error { _, err := n.StateWaitMsg(ctx, none, 0, -1, true); return err },
		"base info of nobody":       func() error { _, err := n.MinerGetBaseInfo(ctx, undef, head.Height+1, nil); return err },
		"info of nobody":            func() error { _, err := n.StateMinerInfo(ctx, undef, nil); return err },
		"state of nobody":           func() error { _, err := n.StateReadState(ctx, undef, nil); return err },
		"id of nobody":              func() error { _, err := n.StateLookupID(ctx, undef, nil); return err },
		"key of nobody":             func() error { _, err := n.StateAccountKey(ctx, undef, nil); return err },
		"fund nobody":               func() error { _, err := n.DevnetFund(ctx, undef, big.Zero()); return err },
		"fund nothing":              func() error { _, err := n.DevnetFund(ctx, worker, big.Int{}); return err },
		"deposit for nothing": func() error {
			_, err := n.StateMinerPreCommitDepositForPower(ctx, undef, miner.SectorPreCommitInfo{SealProof: -1}, nil)
			return err
		},
		"pledge for nothing": func() error { _, err := n.StateMinerInitialPledgeForSector(ctx, 0, 0, 0, nil); return err },
		"partitions of none": func() error { _, err := n.StateMinerPartitions(ctx, n.params.Miner, 1<<40, nil); return err },
		"an absurd sector": func() error {
			_, err := n.StateSectorExpiration(ctx, n.params.Miner, abi.SectorNumber(1<<62), nil)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := func() (err error) {
				defer func() {
					if p := recover(); p != nil {
						t.Errorf("panic: %v", p)
						err = fmt.Errorf("panic: %v", p)
					}
				}()
				return call()
			}()
			if err == nil {
				t.Error("it was answered")
			}
		})
	}
	step(t, n, 1) // nothing stuck
}
