package devnet

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/account"
	"github.com/filecoin-project/go-state-types/builtin/v18/cron"
	"github.com/filecoin-project/go-state-types/builtin/v18/datacap"
	init18 "github.com/filecoin-project/go-state-types/builtin/v18/init"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/builtin/v18/multisig"
	"github.com/filecoin-project/go-state-types/builtin/v18/power"
	"github.com/filecoin-project/go-state-types/builtin/v18/reward"
	"github.com/filecoin-project/go-state-types/builtin/v18/system"
	"github.com/filecoin-project/go-state-types/builtin/v18/util/adt"
	"github.com/filecoin-project/go-state-types/builtin/v18/verifreg"
	"github.com/filecoin-project/go-state-types/manifest"
	"github.com/filecoin-project/go-state-types/network"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/api"
	"quarry/build"
	"quarry/chain/fvm/state"
	"quarry/chain/genesis"
)

const challengeDelay = 10 // of the devnet actors (actors runtime/build.rs, short-precommit)

func versionInfo() api.VersionInfo {
	return api.VersionInfo{Version: build.Version + "+devnet", APIVersion: apiVersion, BlockDelay: 1, Agent: "quarry-devnet"}
}

// at reads the state that calls with key tsk are answered from.
func (n *Node) at(ctx context.Context, tsk api.TipSetKey) (*view, *api.TipSet, error) {
	ts, err := n.ledger.tipset(ctx, tsk)
	if err != nil {
		return nil, nil, err
	}
	v, err := n.ledger.view(ctx, ts.ParentState())
	return v, ts, err
}

// StateNetworkName implements api.Chain.
func (n *Node) StateNetworkName(context.Context) (string, error) { return n.params.NetworkName, nil }

// StateNetworkVersion implements api.Chain.
func (n *Node) StateNetworkVersion(context.Context, api.TipSetKey) (network.Version, error) {
	return genesis.Version, nil
}

// StateGetNetworkParams implements api.Chain.
func (n *Node) StateGetNetworkParams(context.Context) (*api.NetworkParams, error) {
	return &api.NetworkParams{
		NetworkName:             n.params.NetworkName,
		BlockDelaySecs:          1,
		ConsensusMinerMinPower:  big.NewInt(consensusMinPower),
		PreCommitChallengeDelay: challengeDelay,
		ForkUpgradeParams:       upgrades(),
		Eip155ChainID:           genesis.ChainID,
		GenesisTimestamp:        n.params.Timestamp,
	}, nil
}

// StateGetActor implements api.Chain.
func (n *Node) StateGetActor(ctx context.Context, a address.Address, tsk api.TipSetKey) (*api.Actor, error) {
	v, _, err := n.at(ctx, tsk)
	if err != nil {
		return nil, err
	}
	act, err := v.actor(ctx, a)
	if err != nil {
		return nil, err
	}
	out := actorJSON(act)
	return &out, nil
}

// StateReadState implements api.Chain.
func (n *Node) StateReadState(ctx context.Context, a address.Address, tsk api.TipSetKey) (*api.ActorState, error) {
	v, _, err := n.at(ctx, tsk)
	if err != nil {
		return nil, err
	}
	act, err := v.actor(ctx, a)
	if err != nil {
		return nil, err
	}
	st, err := n.decodeState(ctx, v, act)
	if err != nil {
		return nil, fmt.Errorf("state of %s: %w", a, err)
	}
	raw, err := json.Marshal(st)
	if err != nil {
		return nil, fmt.Errorf("state of %s: %w", a, err)
	}
	return &api.ActorState{Balance: act.Balance, Code: act.Code, State: raw}, nil
}

var stateTypes = map[string]func() cbg.CBORUnmarshaler{
	manifest.SystemKey:   func() cbg.CBORUnmarshaler { return new(system.State) },
	manifest.InitKey:     func() cbg.CBORUnmarshaler { return new(init18.State) },
	manifest.RewardKey:   func() cbg.CBORUnmarshaler { return new(reward.State) },
	manifest.CronKey:     func() cbg.CBORUnmarshaler { return new(cron.State) },
	manifest.PowerKey:    func() cbg.CBORUnmarshaler { return new(power.State) },
	manifest.MarketKey:   func() cbg.CBORUnmarshaler { return new(market.State) },
	manifest.VerifregKey: func() cbg.CBORUnmarshaler { return new(verifreg.State) },
	manifest.DatacapKey:  func() cbg.CBORUnmarshaler { return new(datacap.State) },
	manifest.AccountKey:  func() cbg.CBORUnmarshaler { return new(account.State) },
	manifest.MinerKey:    func() cbg.CBORUnmarshaler { return new(miner.State) },
	manifest.MultisigKey: func() cbg.CBORUnmarshaler { return new(multisig.State) },
}

func (n *Node) decodeState(ctx context.Context, v *view, act *state.Actor) (any, error) {
	_, data, err := v.manifest(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range data.Entries {
		mk := stateTypes[e.Name]
		if e.Code != act.Code || mk == nil {
			continue
		}
		st := mk()
		return st, v.store.Get(ctx, act.Head, st)
	}
	return nil, fmt.Errorf("actor code %s has no known state type", act.Code)
}

// StateLookupID implements api.Chain.
func (n *Node) StateLookupID(ctx context.Context, a address.Address, tsk api.TipSetKey) (address.Address, error) {
	v, _, err := n.at(ctx, tsk)
	if err != nil {
		return address.Undef, err
	}
	return v.lookupID(ctx, a)
}

// StateAccountKey implements api.Chain.
func (n *Node) StateAccountKey(ctx context.Context, a address.Address, tsk api.TipSetKey) (address.Address, error) {
	v, _, err := n.at(ctx, tsk)
	if err != nil {
		return address.Undef, err
	}
	return v.accountKey(ctx, a)
}

func listMiners(_ context.Context, v *view) ([]address.Address, error) {
	ps, err := v.power(v.store.Context())
	if err != nil {
		return nil, err
	}
	m, err := adt.AsMap(v.store, ps.Claims, builtin.DefaultHamtBitwidth)
	if err != nil {
		return nil, err
	}
	out := []address.Address{}
	err = m.ForEach(nil, func(k string) error {
		a, err := address.NewFromBytes([]byte(k))
		out = append(out, a)
		return err
	})
	return out, err
}

// StateListMiners implements api.Chain.
func (n *Node) StateListMiners(ctx context.Context, tsk api.TipSetKey) ([]address.Address, error) {
	v, _, err := n.at(ctx, tsk)
	if err != nil {
		return nil, err
	}
	return listMiners(ctx, v)
}

// StateMarketBalance implements api.Chain.
func (n *Node) StateMarketBalance(ctx context.Context, a address.Address, tsk api.TipSetKey) (api.MarketBalance, error) {
	out := api.MarketBalance{Escrow: big.Zero(), Locked: big.Zero()}
	v, _, err := n.at(ctx, tsk)
	if err != nil {
		return out, err
	}
	if a, err = v.lookupID(ctx, a); err != nil {
		return out, err
	}
	st, err := v.market(ctx)
	if err != nil {
		return out, err
	}
	esc, err := adt.AsBalanceTable(v.store, st.EscrowTable)
	if err != nil {
		return out, err
	}
	if out.Escrow, err = esc.Get(a); err != nil {
		return out, err
	}
	lock, err := adt.AsBalanceTable(v.store, st.LockedTable)
	if err != nil {
		return out, err
	}
	out.Locked, err = lock.Get(a)
	return out, err
}

// StateMarketStorageDeal implements api.Chain.
func (n *Node) StateMarketStorageDeal(ctx context.Context, id abi.DealID, tsk api.TipSetKey) (*api.MarketDeal, error) {
	v, _, err := n.at(ctx, tsk)
	if err != nil {
		return nil, err
	}
	st, err := v.market(ctx)
	if err != nil {
		return nil, err
	}
	props, err := market.AsDealProposalArray(v.store, st.Proposals)
	if err != nil {
		return nil, err
	}
	p, ok, err := props.Get(id)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("deal %d not found - deal may not have completed sealing before deal proposal start epoch, "+
			"or deal may have been slashed", id)
	}
	states, err := adt.AsArray(v.store, st.States, market.StatesAmtBitwidth)
	if err != nil {
		return nil, err
	}
	ds := noDealState()
	if _, err := states.Get(uint64(id), &ds); err != nil {
		return nil, err
	}
	return &api.MarketDeal{Proposal: *p, State: dealState(&ds)}, nil
}

func margin(a abi.TokenAmount) abi.TokenAmount {
	return big.Div(big.Mul(a, big.NewInt(110)), big.NewInt(100))
}

// StateDealProviderCollateralBounds implements api.Chain.
func (n *Node) StateDealProviderCollateralBounds(
	ctx context.Context, size abi.PaddedPieceSize, verified bool, tsk api.TipSetKey,
) (api.DealCollateralBounds, error) {
	v, ts, err := n.at(ctx, tsk)
	if err != nil {
		return api.DealCollateralBounds{}, err
	}
	ps, err := v.power(ctx)
	if err != nil {
		return api.DealCollateralBounds{}, err
	}
	rs, err := v.reward(ctx)
	if err != nil {
		return api.DealCollateralBounds{}, err
	}
	sup, err := n.exec.supply(ctx, ts.ParentState())
	if err != nil {
		return api.DealCollateralBounds{}, err
	}
	lo, hi := market.DealProviderCollateralBounds(size, verified, ps.TotalRawBytePower, ps.TotalQualityAdjPower,
		rs.ThisEpochBaselinePower, sup.FilCirculating)
	return api.DealCollateralBounds{Min: margin(lo), Max: hi}, nil
}

// StateVerifiedClientStatus implements api.Chain.
func (n *Node) StateVerifiedClientStatus(ctx context.Context, a address.Address, tsk api.TipSetKey) (*abi.StoragePower, error) {
	v, _, err := n.at(ctx, tsk)
	if err != nil {
		return nil, err
	}
	if a, err = v.lookupID(ctx, a); err != nil {
		return nil, err
	}
	id, err := address.IDFromAddress(a)
	if err != nil {
		return nil, err
	}
	var st datacap.State
	if _, err := v.load(ctx, builtin.DatacapActorAddr, &st); err != nil {
		return nil, err
	}
	m, err := adt.AsMap(v.store, st.Token.Balances, int(st.Token.HamtBitWidth))
	if err != nil {
		return nil, err
	}
	var amount abi.TokenAmount
	ok, err := m.Get(abi.UIntKey(id), &amount)
	if err != nil || !ok {
		return nil, err
	}
	out := big.Div(amount, big.NewInt(1e18))
	return &out, nil
}

// StateCirculatingSupply implements api.Chain.
func (n *Node) StateCirculatingSupply(ctx context.Context, tsk api.TipSetKey) (abi.TokenAmount, error) {
	s, err := n.StateVMCirculatingSupplyInternal(ctx, tsk)
	return s.FilCirculating, err
}

// StateVMCirculatingSupplyInternal implements api.Chain.
func (n *Node) StateVMCirculatingSupplyInternal(ctx context.Context, tsk api.TipSetKey) (api.CirculatingSupply, error) {
	ts, err := n.ledger.tipset(ctx, tsk)
	if err != nil {
		return api.CirculatingSupply{}, err
	}
	return n.exec.supply(ctx, ts.ParentState())
}
