package genesis

import (
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/account"
	"github.com/filecoin-project/go-state-types/builtin/v18/cron"
	init18 "github.com/filecoin-project/go-state-types/builtin/v18/init"
	"github.com/filecoin-project/go-state-types/builtin/v18/system"
	"github.com/filecoin-project/go-state-types/manifest"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/chain/fvm"
	"quarry/chain/fvm/state"
)

// Ids of the two host-made accounts (lotus chain/gen/genesis).
const (
	verifregRootID abi.ActorID = 80
	reserveID      abi.ActorID = 90
)

// builder holds one machine from the empty tree to the flush.
type builder struct {
	cfg   Config
	m     *fvm.Machine
	codes manifest.Manifest
}

// Build makes the genesis state in deps.Store and returns the first block.
func Build(ctx context.Context, cfg Config, deps Deps) (*Genesis, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	m, err := deps.Engine.NewMachine(ctx, fvm.MachineConfig{
		Epoch:          0,
		Timestamp:      cfg.Timestamp,
		BaseFee:        big.Zero(),
		CircSupply:     big.Zero(),
		NetworkVersion: Version,
		ChainID:        ChainID,
		StateRoot:      cid.Undef,
	}, fvm.Deps{Store: deps.Store, Externs: fixedExterns{}, Proofs: noProofs{}})
	if err != nil {
		return nil, fmt.Errorf("genesis machine: %w", err)
	}
	b := &builder{cfg: cfg, m: m}
	if err := b.loadManifest(ctx, deps.Manifest); err != nil {
		return nil, err
	}
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"system actor", b.system}, {"singleton actors", b.singletons}, {"constructors", b.construct},
		{"accounts", b.accounts}, {"genesis miner", b.miner},
	} {
		if err := step.run(ctx); err != nil {
			return nil, fmt.Errorf("genesis: %s: %w", step.name, err)
		}
	}
	root, err := b.m.Flush(ctx)
	if err != nil {
		return nil, fmt.Errorf("genesis: flush: %w", err)
	}
	h, err := header(ctx, cfg, deps.Store, root)
	if err != nil {
		return nil, err
	}
	vested := big.Zero()
	for _, a := range cfg.Accounts {
		vested = big.Add(vested, a.Balance)
	}
	return &Genesis{Header: h, StateRoot: root, Vested: vested}, nil
}

func (b *builder) loadManifest(ctx context.Context, root cid.Cid) error {
	st := b.m.State().Store(ctx)
	if err := st.Get(ctx, root, &b.codes); err != nil {
		return fmt.Errorf("genesis: read actors manifest %s: %w", root, err)
	}
	if err := b.codes.Load(ctx, st); err != nil {
		return fmt.Errorf("genesis: read actors manifest data: %w", err)
	}
	return nil
}

// put stores an actor with a given state object, or the empty head for nil.
func (b *builder) put(ctx context.Context, id abi.ActorID, kind string, balance abi.TokenAmount, st cbg.CBORMarshaler) error {
	code, ok := b.codes.Get(kind)
	if !ok {
		return fmt.Errorf("actor %s is not in the bundle", kind)
	}
	head := state.EmptyArrayHead
	if st != nil {
		var err error
		if head, err = b.m.State().IpldStore().Put(ctx, st); err != nil {
			return fmt.Errorf("store state of f0%d: %w", id, err)
		}
	}
	return b.m.State().SetActor(id, &state.Actor{Code: code, Head: head, Balance: balance})
}

func (b *builder) system(ctx context.Context) error {
	return b.put(ctx, 0, manifest.SystemKey, big.Zero(), &system.State{BuiltinActors: b.codes.Data})
}

func (b *builder) singletons(ctx context.Context) error {
	for _, s := range []struct {
		id      abi.ActorID
		kind    string
		balance abi.TokenAmount
	}{
		{1, manifest.InitKey, big.Zero()}, {2, manifest.RewardKey, rewardPool}, {3, manifest.CronKey, big.Zero()},
		{4, manifest.PowerKey, big.Zero()}, {5, manifest.MarketKey, big.Zero()}, {6, manifest.VerifregKey, big.Zero()},
		{7, manifest.DatacapKey, big.Zero()},
	} {
		if err := b.put(ctx, s.id, s.kind, s.balance, nil); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) construct(ctx context.Context) error {
	name := constructorName(b.cfg.NetworkName)
	zero := big.Zero()
	root, err := address.NewIDAddress(uint64(verifregRootID))
	if err != nil {
		return err
	}
	steps := []struct {
		to     address.Address
		params cbg.CBORMarshaler
	}{
		{builtin.InitActorAddr, &name},
		{builtin.RewardActorAddr, &zero},
		{builtin.CronActorAddr, &cron.State{Entries: cron.BuiltInEntries()}},
		{builtin.StoragePowerActorAddr, nil}, {builtin.StorageMarketActorAddr, nil},
	}
	for _, s := range steps {
		if _, err := b.exec(ctx, builtin.SystemActorAddr, s.to, 1, big.Zero(), s.params); err != nil {
			return err
		}
	}
	if err := b.put(ctx, verifregRootID, manifest.AccountKey, big.Zero(), &account.State{Address: b.cfg.Accounts[0].Key}); err != nil {
		return err
	}
	if _, err := b.exec(ctx, builtin.SystemActorAddr, builtin.VerifiedRegistryActorAddr, 1, big.Zero(), &root); err != nil {
		return err
	}
	gov := builtin.VerifiedRegistryActorAddr
	_, err = b.exec(ctx, builtin.SystemActorAddr, builtin.DatacapActorAddr, 1, big.Zero(), &gov)
	return err
}

func (b *builder) accounts(ctx context.Context) error {
	burnt := builtin.BurntFundsActorAddr
	if err := b.put(ctx, 99, manifest.AccountKey, big.Zero(), &account.State{Address: burnt}); err != nil {
		return err
	}
	rest := big.Sub(total, big.Add(rewardPool, minerFunds))
	for _, a := range b.cfg.Accounts {
		id, err := b.m.State().RegisterAddress(ctx, a.Key)
		if err != nil {
			return err
		}
		if err := b.put(ctx, id, manifest.AccountKey, a.Balance, &account.State{Address: a.Key}); err != nil {
			return err
		}
		rest = big.Sub(rest, a.Balance)
	}
	if err := b.put(ctx, reserveID, manifest.AccountKey, rest, &account.State{Address: b.cfg.Accounts[0].Key}); err != nil {
		return err
	}
	return b.edit(ctx, 1, new(init18.State), func(st cbg.CBORMarshaler) error {
		s := st.(*init18.State)
		if s.NextID >= MinerID {
			return errors.New("too many accounts")
		}
		s.NextID = MinerID
		return nil
	})
}

// codec is a CBOR state object.
type codec interface {
	cbg.CBORMarshaler
	cbg.CBORUnmarshaler
}

// edit changes an actor's state in place.
func (b *builder) edit(ctx context.Context, id abi.ActorID, st codec, change func(cbg.CBORMarshaler) error) error {
	t := b.m.State()
	a, ok, err := t.Actor(id)
	if err != nil || !ok {
		return fmt.Errorf("edit f0%d: found %v: %w", id, ok, err)
	}
	if err := t.IpldStore().Get(ctx, a.Head, st); err != nil {
		return fmt.Errorf("edit f0%d: read state: %w", id, err)
	}
	if err := change(st); err != nil {
		return fmt.Errorf("edit f0%d: %w", id, err)
	}
	if a.Head, err = t.IpldStore().Put(ctx, st); err != nil {
		return fmt.Errorf("edit f0%d: write state: %w", id, err)
	}
	return t.SetActor(id, a)
}

// fixedExterns answers the little that constructors may ask.
type fixedExterns struct{}

func (fixedExterns) ChainRandomness(context.Context, abi.ChainEpoch) ([32]byte, error) {
	return [32]byte{}, nil
}
func (fixedExterns) BeaconRandomness(context.Context, abi.ChainEpoch) ([32]byte, error) {
	return [32]byte{}, nil
}
func (fixedExterns) TipsetCID(context.Context, abi.ChainEpoch) (cid.Cid, error) {
	return cid.Undef, errors.New("no tipset before genesis")
}
func (fixedExterns) ConsensusFault(context.Context, []byte, []byte, []byte) (*fvm.ConsensusFault, error) {
	return nil, nil
}

// noProofs refuses: nothing is proven at genesis.
type noProofs struct{}

var errNoProofs = errors.New("no proofs are verified at genesis")

func (noProofs) Seal(context.Context, proof.SealVerifyInfo) (bool, error) { return false, errNoProofs }
func (noProofs) Aggregate(context.Context, proof.AggregateSealVerifyProofAndInfos) (bool, error) {
	return false, errNoProofs
}
func (noProofs) WindowPoSt(context.Context, proof.WindowPoStVerifyInfo) (bool, error) {
	return false, errNoProofs
}
func (noProofs) ReplicaUpdate(context.Context, proof.ReplicaUpdateInfo) (bool, error) {
	return false, errNoProofs
}
