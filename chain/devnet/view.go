package devnet

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/account"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/builtin/v18/power"
	"github.com/filecoin-project/go-state-types/builtin/v18/reward"
	"github.com/filecoin-project/go-state-types/builtin/v18/util/adt"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/api"
	"quarry/chain/fvm/state"
)

// view reads one state tree. It belongs to one goroutine.
type view struct {
	tree  *state.Tree
	store adt.Store
}

func (l *ledger) view(ctx context.Context, root cid.Cid) (*view, error) {
	t, err := state.Load(ctx, state.NewBuffer(l.blocks), root)
	if err != nil {
		return nil, err
	}
	return &view{tree: t, store: t.Store(ctx)}, nil
}

// errActorNotFound has the code and the text on which clients match.
func errActorNotFound(a address.Address) error {
	return &api.ErrActorNotFound{Address: a.String()}
}

func (v *view) actor(ctx context.Context, a address.Address) (*state.Actor, error) {
	act, ok, err := v.tree.GetActor(ctx, a)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errActorNotFound(a)
	}
	return act, nil
}

func (v *view) load(ctx context.Context, a address.Address, out cbg.CBORUnmarshaler) (*state.Actor, error) {
	act, err := v.actor(ctx, a)
	if err != nil {
		return nil, err
	}
	if err := v.store.Get(ctx, act.Head, out); err != nil {
		return nil, fmt.Errorf("read state of %s: %w", a, err)
	}
	return act, nil
}

func (v *view) lookupID(ctx context.Context, a address.Address) (address.Address, error) {
	if a.Protocol() == address.ID {
		return a, nil
	}
	id, ok, err := v.tree.LookupID(ctx, a)
	if err != nil {
		return address.Undef, err
	}
	if !ok {
		return address.Undef, errActorNotFound(a)
	}
	return address.NewIDAddress(uint64(id))
}

// accountKey is the key address behind an account.
func (v *view) accountKey(ctx context.Context, a address.Address) (address.Address, error) {
	if a.Protocol() == address.BLS || a.Protocol() == address.SECP256K1 {
		return a, nil
	}
	var st account.State
	if _, err := v.load(ctx, a, &st); err != nil {
		return address.Undef, fmt.Errorf("key address of %s: %w", a, err)
	}
	if p := st.Address.Protocol(); p != address.BLS && p != address.SECP256K1 {
		return address.Undef, fmt.Errorf("key address of %s: actor is not an account with a key", a)
	}
	return st.Address, nil
}

func (v *view) miner(ctx context.Context, a address.Address) (*miner.State, *state.Actor, error) {
	var st miner.State
	act, err := v.load(ctx, a, &st)
	if err != nil {
		return nil, nil, err
	}
	return &st, act, nil
}

func (v *view) power(ctx context.Context) (*power.State, error) {
	var st power.State
	_, err := v.load(ctx, builtin.StoragePowerActorAddr, &st)
	return &st, err
}

func (v *view) reward(ctx context.Context) (*reward.State, error) {
	var st reward.State
	_, err := v.load(ctx, builtin.RewardActorAddr, &st)
	return &st, err
}

func (v *view) market(ctx context.Context) (*market.State, error) {
	var st market.State
	_, err := v.load(ctx, builtin.StorageMarketActorAddr, &st)
	return &st, err
}

// claim is a miner's power; zero when it has none.
func (v *view) claim(ctx context.Context, maddr address.Address) (api.Claim, error) {
	zero := api.Claim{RawBytePower: big.Zero(), QualityAdjPower: big.Zero()}
	ps, err := v.power(ctx)
	if err != nil {
		return zero, err
	}
	c, ok, err := ps.GetClaim(v.store, maddr)
	if err != nil {
		return zero, fmt.Errorf("claim of %s: %w", maddr, err)
	}
	if !ok {
		return zero, nil
	}
	return api.Claim{RawBytePower: c.RawBytePower, QualityAdjPower: c.QualityAdjPower}, nil
}

// activeSectors lists what a miner proves, ascending.
func (v *view) activeSectors(st *miner.State) ([]*miner.SectorOnChainInfo, error) {
	dls, err := st.LoadDeadlines(v.store)
	if err != nil {
		return nil, err
	}
	var nums []uint64
	err = dls.ForEach(v.store, func(_ uint64, dl *miner.Deadline) error {
		return forEachPartition(v.store, dl, func(_ uint64, p *miner.Partition) error {
			bf, err := p.ActiveSectors()
			if err != nil {
				return err
			}
			return bf.ForEach(func(n uint64) error {
				nums = append(nums, n)
				return nil
			})
		})
	})
	if err != nil {
		return nil, fmt.Errorf("active sectors: %w", err)
	}
	return v.sectors(st, nums)
}

func forEachPartition(store adt.Store, dl *miner.Deadline, fn func(i uint64, p *miner.Partition) error) error {
	arr, err := dl.PartitionsArray(store)
	if err != nil {
		return err
	}
	var p miner.Partition
	return arr.ForEach(&p, func(i int64) error {
		c := p
		return fn(uint64(i), &c)
	})
}

func (v *view) sectors(st *miner.State, nums []uint64) ([]*miner.SectorOnChainInfo, error) {
	arr, err := miner.LoadSectors(v.store, st.Sectors)
	if err != nil {
		return nil, fmt.Errorf("load sectors: %w", err)
	}
	sortUint64(nums)
	out := make([]*miner.SectorOnChainInfo, 0, len(nums))
	for _, n := range nums {
		s, ok, err := arr.Get(abi.SectorNumber(n))
		if err != nil || !ok {
			return nil, fmt.Errorf("sector %d: found %v: %w", n, ok, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// supply is the circulating supply as the VM counts it (lotus
// chain/stmgr/supply.go): constant vesting, no disbursed reserve, and only
// pledge counted as locked.
func (x *executor) supply(ctx context.Context, root cid.Cid) (api.CirculatingSupply, error) {
	v, err := x.l.view(ctx, root)
	if err != nil {
		return api.CirculatingSupply{}, err
	}
	rs, err := v.reward(ctx)
	if err != nil {
		return api.CirculatingSupply{}, err
	}
	ps, err := v.power(ctx)
	if err != nil {
		return api.CirculatingSupply{}, err
	}
	burnt, err := v.actor(ctx, builtin.BurntFundsActorAddr)
	if err != nil {
		return api.CirculatingSupply{}, err
	}
	s := api.CirculatingSupply{
		FilVested:           x.params.Vested,
		FilMined:            rs.TotalStoragePowerReward,
		FilBurnt:            burnt.Balance,
		FilLocked:           ps.TotalPledgeCollateral,
		FilReserveDisbursed: big.Zero(),
	}
	s.FilCirculating = big.Max(big.Zero(), big.Sub(big.Sub(big.Add(s.FilVested, s.FilMined), s.FilBurnt), s.FilLocked))
	return s, nil
}
