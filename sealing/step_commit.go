package sealing

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"

	"quarry/api"
)

// activated is the happy end on chain, once it is this replica that is there.
func activated(r record, o onChain) (event, error) {
	if r.CommR == nil || o.sector.SealedCID != *r.CommR {
		return event{}, fatal("the chain holds another sector under number %d (%s)", r.Number, o.sector.SealedCID)
	}
	return event{Kind: evActive, Reason: fmt.Sprintf("activated at epoch %d, expires at %d", o.sector.Activation, o.sector.Expiration)}, nil
}

// commit sends the proof unless the sector is on chain already.
func (s *Sealing) commit(ctx context.Context, l *lane, r record) (event, error) {
	o, err := s.look(ctx, r.Number, nil)
	switch {
	case err != nil:
		return event{}, err
	case o.sector != nil:
		return activated(r, o)
	case !o.mine(r):
		return event{}, failed(job{}, "the chain has no pre-commitment to prove")
	}
	out, err := s.dispatch(ctx, l, r, turn{
		in:      s.commits,
		head:    o.head,
		pressed: s.pressing(r, o),
		build:   func(ctx context.Context, head *api.TipSet) (part, error) { return s.commitPart(ctx, r, o, head) },
	})
	if err != nil || !out.msg.Defined() {
		return event{}, err
	}
	return event{Kind: evCommitSent, Msg: &out.msg, Index: out.index, Reason: out.reason()}, nil
}

// commitPart is the sector's part of a message, with its pledge.
func (s *Sealing) commitPart(ctx context.Context, r record, o onChain, head *api.TipSet) (part, error) {
	o.head = head
	value, err := s.collateral(ctx, r, o)
	if err != nil {
		return part{}, err
	}
	silent, err := s.silent(ctx, r, head)
	if err != nil {
		return part{}, err
	}
	pieces, err := manifests(r, silent)
	if err != nil {
		return part{}, err
	}
	return part{value: value, activation: miner.SectorActivationManifest{SectorNumber: r.Number, Pieces: pieces}, proof: r.Proof}, nil
}

// collateral is the initial pledge, with a margin because it is computed anew
// at execution, less the deposit that the actor releases at the same moment.
// What is too much stays in the miner's available balance.
func (s *Sealing) collateral(ctx context.Context, r record, o onChain) (abi.TokenAmount, error) {
	life := o.preCommit.Info.Expiration - o.head.Height
	pledge, err := s.deps.Chain.StateMinerInitialPledgeForSector(ctx, life, s.size, 0, o.head.Key())
	if err != nil {
		return big.Zero(), fmt.Errorf("ask for the pledge of %s: %w", s.name(r.Number), err)
	}
	pledge = big.Div(big.Mul(pledge, big.NewInt(int64(100+s.cfg.CollateralMarginPercents))), big.NewInt(100))
	if deposit := o.preCommit.PreCommitDeposit; deposit.Int != nil {
		pledge = big.Sub(pledge, deposit)
	}
	return big.Max(pledge, big.Zero()), nil
}

// silent are the pieces, by Seq, whose deals must not be announced, because one
// that the market actor does not take keeps the whole sector from being
// activated: a deal whose start has passed, and one that was placed again and
// has become active elsewhere, or is gone.
func (s *Sealing) silent(ctx context.Context, r record, head *api.TipSet) (map[uint64]bool, error) {
	out := map[uint64]bool{}
	for _, p := range r.Pieces {
		if p.Deal == nil {
			continue
		}
		why := ""
		if p.Deal.StartEpoch <= head.Height {
			why = fmt.Sprintf("it starts at epoch %d, it is %d", p.Deal.StartEpoch, head.Height)
		} else if p.Deal.Attempt > 0 {
			var err error
			if why, err = s.dealTaken(ctx, p.Deal.DealID, head); err != nil {
				return nil, err
			}
		}
		if why != "" {
			out[p.Seq] = true
			s.log.WarnContext(ctx, "a deal is not announced with its sector", "sector", s.name(r.Number), "deal", p.Deal.DealID,
				"reason", why)
		}
	}
	return out, nil
}

// dealTaken says why a deal cannot be activated any more; empty where it can.
func (s *Sealing) dealTaken(ctx context.Context, id abi.DealID, head *api.TipSet) (string, error) {
	deal, err := s.deps.Chain.StateMarketStorageDeal(ctx, id, head.Key())
	var gone *api.ErrNotFound
	switch {
	case errors.As(err, &gone):
		return "the chain does not have it any more", nil
	case err != nil:
		return "", fmt.Errorf("ask whether deal %d is active already: %w", id, err)
	case deal.State.SectorStartEpoch > -1:
		return fmt.Sprintf("it is active since epoch %d", deal.State.SectorStartEpoch), nil
	}
	return "", nil
}

// manifests lists the pieces in order, because the actor computes CommD from
// them; each deal but the silent ones is announced to the market actor, which
// activates it (FIP-0076). Filler after the last deal is implied.
func manifests(r record, silent map[uint64]bool) ([]miner.PieceActivationManifest, error) {
	var pieces []miner.PieceActivationManifest
	last := 0
	for i, p := range r.Pieces {
		m := miner.PieceActivationManifest{CID: p.Info.PieceCID, Size: p.Info.Size}
		if p.Deal != nil {
			var b bytes.Buffer
			id := p.Deal.DealID
			if err := writeDealID(&b, id); err != nil {
				return nil, fmt.Errorf("encode deal %d: %w", id, err)
			}
			if !silent[p.Seq] {
				m.Notify = []miner.DataActivationNotification{{Address: builtin.StorageMarketActorAddr, Payload: b.Bytes()}}
			}
			last = i + 1
		}
		pieces = append(pieces, m)
	}
	return pieces[:last], nil
}

func (s *Sealing) commitWait(ctx context.Context, r record) (event, error) {
	m, err := await(ctx, s.deps.CommitMsgs, job{kind: jobCommit}, *r.CommitMsg)
	if err != nil {
		return event{}, err
	}
	o, err := s.look(ctx, r.Number, m.TipSet)
	if err != nil {
		return event{}, err
	}
	if o.sector != nil { // also when the message failed: another one stored it
		return activated(r, o)
	}
	return event{}, commitFailure(r, m)
}

// commitFailure reads why the sector is not on chain.
func commitFailure(r record, m *api.MsgLookup) error {
	if !m.Receipt.ExitCode.IsSuccess() {
		return failed(job{kind: jobCommit}, "commit message %s failed with exit code %s", r.CommitMsg, m.Receipt.ExitCode)
	}
	var ret miner.ProveCommitSectors3Return
	if err := ret.UnmarshalCBOR(bytes.NewReader(m.Receipt.Return)); err != nil {
		return failed(job{kind: jobCommit}, "commit message %s returned what cannot be read: %w", r.CommitMsg, err)
	}
	for _, f := range ret.FailCodes {
		if uint64(f.Idx) == r.CommitIndex {
			return failed(job{kind: jobCommit}, "the sector was refused in commit message %s with exit code %s", r.CommitMsg, f.Code)
		}
	}
	return failed(job{kind: jobCommit}, "commit message %s succeeded and yet the chain has no sector %d", r.CommitMsg, r.Number)
}
