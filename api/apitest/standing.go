package apitest

import (
	"context"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// Standing is a full node of a network of that name on which nothing happens: one
// head at epoch 100, mined by miner, whose sectors have 2 KiB and whose keys are
// all key. What is asked beyond this answers an error, with which parts must live.
func Standing(t *testing.T, network string, miner, key address.Address) Parts {
	t.Helper()
	c := api.TipSetKey{}.Cid()
	head, err := api.NewTipSet([]*api.BlockHeader{{
		Miner:                 miner,
		Ticket:                &api.Ticket{VRFProof: []byte{1}},
		Height:                100,
		ParentWeight:          big.Zero(),
		ParentBaseFee:         big.Zero(),
		ParentStateRoot:       c,
		ParentMessageReceipts: c,
		Messages:              c,
		Parents:               api.TipSetKey{c},
	}})
	require.NoError(t, err)
	var chain api.ChainStruct
	in := &chain.Internal
	in.ChainHead = func(context.Context) (*api.TipSet, error) { return head, nil }
	in.StateNetworkName = func(context.Context) (string, error) { return network, nil }
	in.ChainGetGenesis = func(context.Context) (*api.TipSet, error) { return head, nil }
	in.ChainGetTipSet = func(context.Context, api.TipSetKey) (*api.TipSet, error) { return head, nil }
	in.ChainNotify = func(ctx context.Context) (<-chan []*api.HeadChange, error) {
		out := make(chan []*api.HeadChange, 1)
		out <- []*api.HeadChange{{Type: api.HeadCurrent, Val: head}}
		context.AfterFunc(ctx, func() { close(out) })
		return out, nil
	}
	in.StateMinerInfo = func(context.Context, address.Address, api.TipSetKey) (api.MinerInfo, error) {
		return api.MinerInfo{
			Owner:                      key,
			Worker:                     key,
			Beneficiary:                key,
			SectorSize:                 2 << 10,
			WindowPoStPartitionSectors: 2,
			WindowPoStProofType:        abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1,
		}, nil
	}
	var self api.NodeStruct
	self.Internal.Version = func(context.Context) (api.VersionInfo, error) { return api.VersionInfo{Version: "fake"}, nil }
	var dev api.DevnetStruct
	dev.Internal.DevnetStatus = func(context.Context) (api.NodeStatusDevnet, error) {
		return api.NodeStatusDevnet{PaceMillis: 100, ProofKinds: []string{"vanilla"}}, nil
	}
	return Parts{Chain: &chain, Node: &self, Devnet: &dev}
}
