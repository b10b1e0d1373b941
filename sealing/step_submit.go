package sealing

import (
	"bytes"
	"context"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/dline"

	"quarry/api"
)

// mutableMargin is how many epochs a message is given to be executed before a
// deadline becomes immutable.
const mutableMargin abi.ChainEpoch = 5

// submitUpdate sends the update unless the chain has it already. From the
// moment at which a message may be on its way, only its fate decides.
func (s *Sealing) submitUpdate(ctx context.Context, l *lane, r record) (event, error) {
	o, err := s.look(ctx, r.Number, nil)
	switch {
	case err != nil:
		return event{}, err
	case o.updated(r):
		return updateLanded(o), nil
	}
	if !r.Update.Sending {
		if why := updateRefusal(r, o); why != "" {
			return event{}, fatal("the update was given up: %s", why)
		}
	} else if o.sector == nil {
		return event{}, failed(r.updateJob(jobSendUpdate), "the sector is no longer on chain")
	}
	at, err := s.deps.Chain.StateSectorPartition(ctx, s.cfg.Miner, r.Number, o.head.Key())
	if err != nil {
		return event{}, fmt.Errorf("ask for the deadline of %s: %w", s.name(r.Number), err)
	}
	if !r.Update.Sending {
		if ev, err := s.sendable(ctx, r, o, *at); ev.Kind != "" || err != nil {
			return ev, err
		}
		if err := s.amend(ctx, l, func(r *record) { r.Update.Sending = true }); err != nil {
			return event{}, err
		}
	}
	return s.sendUpdate(ctx, l, r, o, *at)
}

// obstacle says what stands against an update now, and the epoch from which it
// may be gone; empty when nothing does.
func (s *Sealing) obstacle(ctx context.Context, r record, head *api.TipSet, at api.SectorLocation) (
	why string, until abi.ChainEpoch, err error) {
	until, mutable, err := s.mutable(ctx, at.Deadline, head)
	if err != nil {
		return "", 0, err
	}
	if !mutable {
		return fmt.Sprintf("deadline %d takes no changes", at.Deadline), until, nil
	}
	switch active, err := s.active(ctx, r.Number, head, at); {
	case err != nil:
		return "", 0, err
	case !active:
		return "the sector is faulty or was never proven", until, nil
	}
	return "", 0, nil
}

// active tells whether the sector has been proven and is not faulty: the chain
// takes updates of no other.
func (s *Sealing) active(ctx context.Context, n abi.SectorNumber, head *api.TipSet, at api.SectorLocation) (bool, error) {
	parts, err := s.deps.Chain.StateMinerPartitions(ctx, s.cfg.Miner, at.Deadline, head.Key())
	if err != nil {
		return false, fmt.Errorf("ask for the partitions of deadline %d: %w", at.Deadline, err)
	}
	if at.Partition >= uint64(len(parts)) {
		return false, fmt.Errorf("deadline %d has %d partitions, the sector is said to be in number %d", at.Deadline, len(parts),
			at.Partition)
	}
	active, err := parts[at.Partition].ActiveSectors.IsSet(uint64(n))
	if err != nil {
		return false, fmt.Errorf("read the partitions of deadline %d: %w", at.Deadline, err)
	}
	return active, nil
}

// sendable finds out whether to send now, to wait, or, when a deal would start
// meanwhile, to give up early enough for it to go elsewhere.
func (s *Sealing) sendable(ctx context.Context, r record, o onChain, at api.SectorLocation) (event, error) {
	why, until, err := s.obstacle(ctx, r, o.head, at)
	if err != nil || why == "" {
		return event{}, err
	}
	why = fmt.Sprintf("%s until epoch %d", why, until)
	if start, _, _ := r.dealSpan(); start <= until {
		return event{}, fatal("the update was given up: %s, a deal starts at %d", why, start)
	}
	return event{Kind: evImmutable, Reason: why}, nil
}

func (s *Sealing) sendUpdate(ctx context.Context, l *lane, r record, o onChain, at api.SectorLocation) (event, error) {
	silent, err := s.silent(ctx, r, o.head)
	if err != nil {
		return event{}, err
	}
	params, err := updateParams(r, at, silent)
	if err != nil {
		return event{}, err
	}
	value, err := s.updatePledge(ctx, r, o)
	if err != nil {
		return event{}, err
	}
	c, err := s.send(ctx, r, outgoing{
		via:    s.deps.CommitMsgs,
		work:   r.updateJob(jobSendUpdate),
		method: builtin.MethodsMiner.ProveReplicaUpdates3,
		value:  value,
		params: params,
		head:   o.head,
	})
	if err == nil {
		return event{Kind: evUpdateSent, Msg: &c, Reason: c.String()}, nil
	}
	if isFailure(err) { // refused: nothing is on its way
		if err := s.amend(ctx, l, func(r *record) { r.Update.Sending = false }); err != nil {
			return event{}, err
		}
	}
	return event{}, err
}

// updatePledge is by how much the pledge may rise, with the margin of
// collateral. What is too much stays in the miner's available balance.
func (s *Sealing) updatePledge(ctx context.Context, r record, o onChain) (abi.TokenAmount, error) {
	pledge, err := s.deps.Chain.StateMinerInitialPledgeForSector(ctx, o.sector.Expiration-o.head.Height, s.size, 0, o.head.Key())
	if err != nil {
		return big.Zero(), fmt.Errorf("ask for the pledge of %s: %w", s.name(r.Number), err)
	}
	pledge = big.Div(big.Mul(pledge, big.NewInt(int64(100+s.cfg.CollateralMarginPercents))), big.NewInt(100))
	if have := o.sector.InitialPledge; have.Int != nil {
		pledge = big.Sub(pledge, have)
	}
	return big.Max(pledge, big.Zero()), nil
}

func updateParams(r record, at api.SectorLocation, silent map[uint64]bool) (*miner.ProveReplicaUpdates3Params, error) {
	pieces, err := manifests(r, silent)
	if err != nil {
		return nil, err
	}
	info, err := updateInfo(r)
	if err != nil {
		return nil, err
	}
	return &miner.ProveReplicaUpdates3Params{
		SectorUpdates: []miner.SectorUpdateManifest{{
			Sector:       r.Number,
			Deadline:     at.Deadline,
			Partition:    at.Partition,
			NewSealedCID: info.NewSealedSectorCID,
			Pieces:       pieces,
		}},
		SectorProofs:               [][]byte{r.Update.Proof},
		UpdateProofsType:           info.UpdateProofType,
		RequireActivationSuccess:   true,
		RequireNotificationSuccess: true,
	}, nil
}

// mutable tells whether sectors of a deadline may be changed now: not from one
// challenge window before it opens until it closes (actors
// miner/src/deadlines.rs, deadline_is_mutable). until is when it closes next.
func (s *Sealing) mutable(ctx context.Context, deadline uint64, head *api.TipSet) (until abi.ChainEpoch, ok bool, err error) {
	di, err := s.deps.Chain.StateMinerProvingDeadline(ctx, s.cfg.Miner, head.Key())
	if err != nil {
		return 0, false, fmt.Errorf("ask for the proving deadline of %s: %w", s.cfg.Miner, err)
	}
	next := dline.NewInfo(di.PeriodStart, deadline, head.Height, di.WPoStPeriodDeadlines, di.WPoStProvingPeriod,
		di.WPoStChallengeWindow, di.WPoStChallengeLookback, di.FaultDeclarationCutoff).NextNotElapsed()
	return next.Close, head.Height+mutableMargin < next.Open-di.WPoStChallengeWindow, nil
}

// waitMutable sleeps until the sector's deadline has closed, with the sector
// proven, if something stands against the update.
func (s *Sealing) waitMutable(ctx context.Context, r record) (event, error) {
	head, err := s.head(ctx)
	if err != nil {
		return event{}, err
	}
	at, err := s.deps.Chain.StateSectorPartition(ctx, s.cfg.Miner, r.Number, head.Key())
	if err != nil {
		return event{}, fmt.Errorf("ask for the deadline of %s: %w", s.name(r.Number), err)
	}
	why, until, err := s.obstacle(ctx, r, head, *at)
	if err != nil {
		return event{}, err
	}
	if why != "" {
		if ts, err := s.atHeight(ctx, until); ts == nil || err != nil {
			return event{}, err
		}
	}
	return event{Kind: evMutable, Reason: fmt.Sprintf("deadline %d", at.Deadline)}, nil
}

func (s *Sealing) updateWait(ctx context.Context, r record) (event, error) {
	work := r.updateJob(jobSendUpdate)
	m, err := await(ctx, s.deps.CommitMsgs, work, *r.Update.Msg)
	if err != nil {
		return event{}, err
	}
	o, err := s.look(ctx, r.Number, m.TipSet)
	switch {
	case err != nil:
		return event{}, err
	case o.updated(r): // also when the message failed: another one did it
		return updateLanded(o), nil
	}
	return event{}, updateFailure(r, work, m)
}

// updateFailure reads why the chain has no update.
func updateFailure(r record, work job, m *api.MsgLookup) error {
	msg := r.Update.Msg
	if !m.Receipt.ExitCode.IsSuccess() {
		return failed(work, "update message %s failed with exit code %s", msg, m.Receipt.ExitCode)
	}
	var ret miner.ProveReplicaUpdates3Return
	if err := ret.UnmarshalCBOR(bytes.NewReader(m.Receipt.Return)); err != nil {
		return failed(work, "update message %s returned what cannot be read: %w", msg, err)
	}
	if len(ret.FailCodes) > 0 {
		return failed(work, "the sector was refused in update message %s with exit code %s", msg, ret.FailCodes[0].Code)
	}
	return failed(work, "update message %s succeeded and yet the chain has no update of sector %d", msg, r.Number)
}
