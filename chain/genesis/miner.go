package genesis

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/builtin/v18/power"
	"github.com/filecoin-project/go-state-types/builtin/v18/reward"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/api"
)

// constructorName is the init actor's constructor parameter: array(1)[name].
type constructorName string

// MarshalCBOR writes the one-field tuple.
func (n *constructorName) MarshalCBOR(w io.Writer) error {
	cw := cbg.NewCborWriter(w)
	if err := cw.WriteMajorTypeHeader(cbg.MajArray, 1); err != nil {
		return err
	}
	if err := cw.WriteMajorTypeHeader(cbg.MajTextString, uint64(len(*n))); err != nil {
		return err
	}
	_, err := io.WriteString(cw, string(*n))
	return err
}

func encode(v cbg.CBORMarshaler) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	var buf bytes.Buffer
	if err := v.MarshalCBOR(&buf); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return buf.Bytes(), nil
}

// exec runs an implicit message and wants exit code 0.
func (b *builder) exec(
	ctx context.Context, from, to address.Address, method abi.MethodNum, value abi.TokenAmount, params cbg.CBORMarshaler,
) ([]byte, error) {
	raw, err := encode(params)
	if err != nil {
		return nil, err
	}
	res, err := b.m.ApplyImplicit(ctx, &api.Message{
		To:         to,
		From:       from,
		Value:      value,
		Method:     method,
		Params:     raw,
		GasLimit:   1 << 50,
		GasFeeCap:  big.Zero(),
		GasPremium: big.Zero(),
	})
	if err != nil {
		return nil, fmt.Errorf("call %s method %d: %w", to, method, err)
	}
	if res.ExitCode != 0 {
		return nil, fmt.Errorf("call %s method %d: exit code %d: %s", to, method, res.ExitCode, res.Backtrace)
	}
	return res.Return, nil
}

func (b *builder) miner(ctx context.Context) error {
	ppt, err := b.cfg.SealProof.RegisteredWindowPoStProof()
	if err != nil {
		return err
	}
	if ppt, err = ppt.ToV1_1PostProof(); err != nil {
		return err
	}
	ret, err := b.exec(ctx, b.cfg.Worker, builtin.StoragePowerActorAddr, builtin.MethodsPower.CreateMiner, minDeposit,
		&power.CreateMinerParams{Owner: b.cfg.Worker, Worker: b.cfg.Worker, WindowPoStProofType: ppt, Peer: abi.PeerID{}})
	if err != nil {
		return err
	}
	var made power.CreateMinerReturn
	if err := made.UnmarshalCBOR(bytes.NewReader(ret)); err != nil {
		return fmt.Errorf("decode CreateMiner result: %w", err)
	}
	if id, err := address.IDFromAddress(made.IDAddress); err != nil || abi.ActorID(id) != MinerID {
		return fmt.Errorf("miner got address %s", made.IDAddress)
	}
	a, ok, err := b.m.State().Actor(MinerID)
	if err != nil || !ok {
		return fmt.Errorf("find the miner actor: %v, %w", ok, err)
	}
	a.Balance = big.Add(a.Balance, minerFunds)
	if err := b.m.State().SetActor(MinerID, a); err != nil {
		return err
	}
	return b.preseal(ctx, made.IDAddress)
}

func (b *builder) preseal(ctx context.Context, maddr address.Address) error {
	size, err := b.cfg.SealProof.SectorSize()
	if err != nil {
		return err
	}
	var st miner.State
	if err := b.edit(ctx, MinerID, &st, func(cbg.CBORMarshaler) error { return nil }); err != nil {
		return err
	}
	expiration := (miner.MaxSectorExpirationExtension/miner.WPoStProvingPeriod-1)*miner.WPoStProvingPeriod + st.ProvingPeriodStart - 1
	sum := big.Mul(big.NewIntUnsigned(uint64(size)), big.NewInt(int64(len(b.cfg.Sectors))))
	if err := b.editPower(ctx, func(p *power.State) {
		p.TotalRawBytePower, p.TotalQualityAdjPower = sum, sum
		p.ThisEpochRawBytePower, p.ThisEpochQualityAdjPower = sum, sum
	}); err != nil {
		return err
	}
	for _, s := range b.cfg.Sectors {
		if err := b.presealOne(ctx, maddr, s, big.NewIntUnsigned(uint64(size)), expiration); err != nil {
			return fmt.Errorf("sector %d: %w", s.Number, err)
		}
	}
	return nil
}

func (b *builder) editPower(ctx context.Context, change func(*power.State)) error {
	return b.edit(ctx, 4, new(power.State), func(st cbg.CBORMarshaler) error {
		change(st.(*power.State))
		return nil
	})
}

// presealOne follows lotus chain/gen/genesis/miners.go for one sector.
func (b *builder) presealOne(ctx context.Context, maddr address.Address, s Sector, size abi.StoragePower, expiration abi.ChainEpoch) error {
	if _, err := b.exec(ctx, b.cfg.Worker, maddr, builtin.MethodsMiner.PreCommitSectorBatch2, big.Zero(),
		&miner.PreCommitSectorBatchParams2{Sectors: []miner.SectorPreCommitInfo{{
			SealProof:     b.cfg.SealProof,
			SectorNumber:  s.Number,
			SealedCID:     s.SealedCID,
			SealRandEpoch: -1,
			Expiration:    expiration,
		}}}); err != nil {
		return err
	}
	if err := b.editPower(ctx, func(p *power.State) {
		p.TotalRawBytePower = big.Sub(p.TotalRawBytePower, size)
		p.TotalQualityAdjPower = big.Sub(p.TotalQualityAdjPower, size)
	}); err != nil {
		return err
	}
	var rs reward.State
	var ps power.State
	nop := func(cbg.CBORMarshaler) error { return nil }
	if err := b.edit(ctx, 2, &rs, nop); err != nil {
		return err
	}
	if err := b.edit(ctx, 4, &ps, nop); err != nil {
		return err
	}
	if _, err := b.exec(ctx, builtin.SystemActorAddr, maddr, builtin.MethodsMiner.InternalSectorSetupForPreseal, big.Zero(),
		&miner.InternalSectorSetupForPresealParams{Sectors: []abi.SectorNumber{s.Number}, RewardSmoothed: rs.ThisEpochRewardSmoothed,
			RewardBaselinePower: rs.ThisEpochBaselinePower, QualityAdjPowerSmoothed: ps.ThisEpochQAPowerSmoothed}); err != nil {
		return err
	}
	if _, err := b.exec(ctx, maddr, builtin.StoragePowerActorAddr, builtin.MethodsPower.UpdateClaimedPower, big.Zero(),
		&power.UpdateClaimedPowerParams{RawByteDelta: size, QualityAdjustedDelta: size}); err != nil {
		return err
	}
	return b.edit(ctx, MinerID, new(miner.State), func(st cbg.CBORMarshaler) error {
		return b.activate(ctx, st.(*miner.State))
	})
}

// activate clears the unproven marks, so that the power counts at epoch 0.
func (b *builder) activate(ctx context.Context, st *miner.State) error {
	store := b.m.State().Store(ctx)
	dls, err := st.LoadDeadlines(store)
	if err != nil {
		return err
	}
	err = dls.ForEach(store, func(i uint64, dl *miner.Deadline) error {
		parts, err := dl.PartitionsArray(store)
		if err != nil {
			return err
		}
		var p miner.Partition
		type change struct {
			i int64
			p miner.Partition
		}
		var changes []change
		if err := parts.ForEach(&p, func(j int64) error {
			p.ActivateUnproven()
			changes = append(changes, change{j, p})
			return nil
		}); err != nil {
			return err
		}
		if len(changes) == 0 {
			return nil
		}
		for _, c := range changes {
			if err := parts.Set(uint64(c.i), &c.p); err != nil {
				return err
			}
		}
		if dl.Partitions, err = parts.Root(); err != nil {
			return err
		}
		return dls.UpdateDeadline(store, i, dl)
	})
	if err != nil {
		return fmt.Errorf("activate sectors: %w", err)
	}
	return st.SaveDeadlines(store, dls)
}
