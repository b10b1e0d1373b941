package devnet

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/filecoin-project/go-state-types/builtin/v18/util/adt"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/chain/fvm/state"
)

// What one answer may list, and how many such answers are made at a time: each
// walks a whole tree of the state.
const (
	maxRows   = 100_000
	listSlots = 2
)

// errTooMany refuses to list more than fits into an answer.
func errTooMany(what, hint string) error {
	return &api.ErrInvalid{What: what, Reason: fmt.Sprintf("there are more than %d", maxRows), Hint: hint}
}

// listing waits for one of the slots of lists; done gives it back.
func (n *Node) listing(ctx context.Context) (done func(), err error) {
	select {
	case n.lists <- struct{}{}:
		return func() { <-n.lists }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// StateListActors implements api.ChainTools.
func (n *Node) StateListActors(ctx context.Context, tsk api.TipSetKey) ([]address.Address, error) {
	done, err := n.listing(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	v, _, err := n.at(ctx, tsk)
	if err != nil {
		return nil, err
	}
	out := []address.Address{}
	err = v.tree.ForEach(func(id abi.ActorID, _ *state.Actor) error {
		if len(out) >= maxRows {
			return errTooMany("list of actors", "ask for single ones with StateGetActor")
		}
		a, err := address.NewIDAddress(uint64(id))
		out = append(out, a)
		return cmp.Or(err, ctx.Err())
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func dealState(s *market.DealState) api.MarketDealState {
	return api.MarketDealState{
		SectorNumber:     s.SectorNumber,
		SectorStartEpoch: s.SectorStartEpoch,
		LastUpdatedEpoch: s.LastUpdatedEpoch,
		SlashEpoch:       s.SlashEpoch,
	}
}

// noDealState is that of a deal that no sector holds yet.
func noDealState() market.DealState {
	return market.DealState{SectorStartEpoch: -1, LastUpdatedEpoch: -1, SlashEpoch: -1}
}

// StateMarketDeals implements api.ChainTools: deals by their ids in decimal.
func (n *Node) StateMarketDeals(ctx context.Context, tsk api.TipSetKey) (map[string]*api.MarketDeal, error) {
	done, err := n.listing(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	v, _, err := n.at(ctx, tsk)
	if err != nil {
		return nil, err
	}
	st, err := v.market(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]*api.MarketDeal{}
	if err := v.proposals(ctx, st, out); err != nil {
		return nil, fmt.Errorf("deal proposals: %w", err)
	}
	if err := v.dealStates(ctx, st, out); err != nil {
		return nil, fmt.Errorf("deal states: %w", err)
	}
	return out, nil
}

// proposals adds every deal, as one that no sector holds.
func (v *view) proposals(ctx context.Context, st *market.State, out map[string]*api.MarketDeal) error {
	props, err := market.AsDealProposalArray(v.store, st.Proposals)
	if err != nil {
		return err
	}
	var p market.DealProposal
	return props.ForEach(&p, func(id int64) error {
		if len(out) >= maxRows {
			return errTooMany("list of deals", "ask for single ones with StateMarketStorageDeal")
		}
		none := noDealState()
		out[strconv.FormatInt(id, 10)] = &api.MarketDeal{Proposal: p, State: dealState(&none)}
		return ctx.Err()
	})
}

// dealStates sets the states of the deals that have one.
func (v *view) dealStates(ctx context.Context, st *market.State, out map[string]*api.MarketDeal) error {
	states, err := adt.AsArray(v.store, st.States, market.StatesAmtBitwidth)
	if err != nil {
		return err
	}
	var ds market.DealState
	return states.ForEach(&ds, func(id int64) error {
		if d := out[strconv.FormatInt(id, 10)]; d != nil {
			d.State = dealState(&ds)
		}
		return ctx.Err()
	})
}

// StateMarketProposalPending implements api.ChainTools: the proposal is published
// and its deal has not started.
func (n *Node) StateMarketProposalPending(ctx context.Context, proposal cid.Cid, tsk api.TipSetKey) (bool, error) {
	if !proposal.Defined() {
		return false, &api.ErrInvalid{What: "proposal", Reason: "it has no CID"}
	}
	v, _, err := n.at(ctx, tsk)
	if err != nil {
		return false, err
	}
	st, err := v.market(ctx)
	if err != nil {
		return false, err
	}
	set, err := adt.AsSet(v.store, st.PendingProposals, builtin.DefaultHamtBitwidth)
	if err != nil {
		return false, fmt.Errorf("pending proposals: %w", err)
	}
	return set.Has(abi.CidKey(proposal))
}
