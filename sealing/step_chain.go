package sealing

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/api"
	"quarry/chain/msgs"
)

// maxProveCommit is how long a pre-commitment lives before the challenge
// delay is added; expirations are reckoned from its end (policy.rs).
const maxProveCommit abi.ChainEpoch = 30 * epochsInDay

// lifeSlack covers the epochs between choosing an expiration and the message
// being executed.
const lifeSlack abi.ChainEpoch = 2 * epochsInDay

// onChain is what the chain knows of a sector at one tipset.
type onChain struct {
	head      *api.TipSet
	preCommit *miner.SectorPreCommitOnChainInfo
	sector    *miner.SectorOnChainInfo
}

// look asks for both at the head, or at tsk where it is given.
func (s *Sealing) look(ctx context.Context, n abi.SectorNumber, tsk api.TipSetKey) (o onChain, err error) {
	if o.head, err = s.head(ctx); err != nil {
		return o, err
	}
	if len(tsk) == 0 {
		tsk = o.head.Key()
	}
	if o.preCommit, err = s.deps.Chain.StateSectorPreCommitInfo(ctx, s.cfg.Miner, n, tsk); absent(&err) {
		return o, fmt.Errorf("ask for the pre-commitment of %s: %w", s.name(n), err)
	}
	if o.sector, err = s.deps.Chain.StateSectorGetInfo(ctx, s.cfg.Miner, n, tsk); absent(&err) {
		return o, fmt.Errorf("ask for %s on chain: %w", s.name(n), err)
	}
	return o, nil
}

// absent turns "not found" into no error and tells whether one remains.
func absent(err *error) bool {
	var gone *api.ErrNotFound
	if errors.As(*err, &gone) {
		*err = nil
	}
	return *err != nil
}

// mine tells whether the pre-commitment is to this replica.
func (o onChain) mine(r record) bool {
	return o.preCommit != nil && r.CommR != nil && o.preCommit.Info.SealedCID == *r.CommR
}

func landed(o onChain) event {
	return event{Kind: evPreCommitLanded, Epoch: o.preCommit.PreCommitEpoch, Expiration: o.preCommit.Info.Expiration,
		Reason: fmt.Sprintf("at epoch %d", o.preCommit.PreCommitEpoch)}
}

// preCommit sends the pre-commitment unless the chain has it already.
func (s *Sealing) preCommit(ctx context.Context, l *lane, r record) (event, error) {
	if err := s.provable(); err != nil {
		return event{}, err
	}
	o, err := s.look(ctx, r.Number, nil)
	switch {
	case err != nil:
		return event{}, err
	case o.sector != nil:
		return activated(r, o)
	case o.mine(r):
		return landed(o), nil
	case o.preCommit != nil:
		return event{}, fatal("the chain holds another pre-commitment for number %d (%s): the number is lost",
			r.Number, o.preCommit.Info.SealedCID)
	case ticketTooOld(r, o.head.Height):
		return event{Kind: evTicketExpired, Reason: fmt.Sprintf("ticket of epoch %d is too old at %d", r.TicketEpoch, o.head.Height)}, nil
	}
	used, err := s.deps.Chain.StateMinerSectorAllocated(ctx, s.cfg.Miner, r.Number, o.head.Key())
	switch {
	case err != nil:
		return event{}, fmt.Errorf("ask whether number %d is used: %w", r.Number, err)
	case used: // by the same state that has neither pre-commitment nor sector
		return event{}, fatal("sector number %d was used up on chain; remove the sector and seal its data under another", r.Number)
	}
	out, err := s.dispatch(ctx, l, r, turn{
		in:      s.preCommits,
		head:    o.head,
		pressed: s.pressing(r, o),
		build:   func(ctx context.Context, head *api.TipSet) (part, error) { return s.preCommitPart(ctx, r, head) },
	})
	if err != nil || !out.msg.Defined() {
		return event{}, err
	}
	return event{Kind: evPreCommitSent, Msg: &out.msg, Expiration: out.expiration, Reason: out.reason()}, nil
}

// preCommitPart is the sector's part of a message, with its deposit.
func (s *Sealing) preCommitPart(ctx context.Context, r record, head *api.TipSet) (part, error) {
	info, err := s.preCommitInfo(ctx, r, head)
	if err != nil {
		return part{}, err
	}
	deposit, err := s.deps.Chain.StateMinerPreCommitDepositForPower(ctx, s.cfg.Miner, info, head.Key())
	if err != nil {
		return part{}, fmt.Errorf("ask for the pre-commit deposit: %w", err)
	}
	return part{value: deposit, preCommit: info}, nil
}

func (s *Sealing) preCommitInfo(ctx context.Context, r record, head *api.TipSet) (miner.SectorPreCommitInfo, error) {
	exp, err := s.expiration(ctx, r, head.Height)
	if err != nil {
		return miner.SectorPreCommitInfo{}, err
	}
	info := miner.SectorPreCommitInfo{
		SealProof:     r.ProofType,
		SectorNumber:  r.Number,
		SealedCID:     *r.CommR,
		SealRandEpoch: r.TicketEpoch,
		Expiration:    exp,
	}
	if !r.CC { // null stands for a sector of zeros (FIP-0041)
		info.UnsealedCid = r.CommD
	}
	return info, nil
}

// expiration outlives the longest deal and stays within what the miner actor
// takes: 180 days beyond the last moment to prove, at most 1278 days from now
// (actors miner/src/lib.rs, validate_expiration).
func (s *Sealing) expiration(ctx context.Context, r record, now abi.ChainEpoch) (abi.ChainEpoch, error) {
	delay, err := s.challengeDelay(ctx)
	if err != nil {
		return 0, err
	}
	low := now + maxProveCommit + delay + miner.MinSectorExpiration + lifeSlack
	high := now + miner.MaxSectorExpirationExtension - lifeSlack
	want := now + s.cfg.CCLifetime
	if start, end, ok := r.dealSpan(); ok {
		if start <= now+delay {
			return 0, fatal("a deal starts at epoch %d, it is %d: the sector cannot be proven in time", start, now)
		}
		want = end
		if end > high {
			high = now + miner.MaxSectorExpirationExtension
		}
		if end > high {
			return 0, fatal("a deal ends at epoch %d, no sector may live beyond %d", end, high)
		}
	}
	return min(max(want, low), high), nil
}

func (s *Sealing) challengeDelay(ctx context.Context) (abi.ChainEpoch, error) {
	p, err := s.deps.Chain.StateGetNetworkParams(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask for the network parameters: %w", err)
	}
	return p.PreCommitChallengeDelay, nil
}

// send pushes a message of the sector under a key that changes with every
// failed try, so that a repeated visit finds the message it already sent.
func (s *Sealing) send(ctx context.Context, r record, o outgoing) (cid.Cid, error) {
	m, err := s.message(ctx, o.method, o.value, o.params, o.head)
	if err != nil {
		return cid.Undef, err
	}
	return push(ctx, o.via, s.msgKey(r, o.work), m)
}

// outgoing is a message of one sector that is to be sent.
type outgoing struct {
	via    Messages
	work   job // whose message it is
	method abi.MethodNum
	value  abi.TokenAmount
	params cbg.CBORMarshaler
	head   *api.TipSet // as of which its sender is chosen
}

func (s *Sealing) msgKey(r record, work job) string {
	return fmt.Sprintf("%s/%s/%d-%d/%d", s.name(r.Number), work, r.TicketEpoch, r.SeedEpoch, r.Attempts[work])
}

// message is a message from the miner's worker to the miner actor.
func (s *Sealing) message(ctx context.Context, method abi.MethodNum, value abi.TokenAmount,
	params cbg.CBORMarshaler, head *api.TipSet) (*api.Message, error) {
	info, err := s.deps.Chain.StateMinerInfo(ctx, s.cfg.Miner, head.Key())
	if err != nil {
		return nil, fmt.Errorf("ask for the worker address of %s: %w", s.cfg.Miner, err)
	}
	var b bytes.Buffer
	if err := params.MarshalCBOR(&b); err != nil {
		return nil, fmt.Errorf("encode parameters of method %d: %w", method, err)
	}
	return &api.Message{
		To:         s.cfg.Miner,
		From:       info.Worker,
		Value:      value,
		Method:     method,
		Params:     b.Bytes(),
		GasFeeCap:  big.Zero(),
		GasPremium: big.Zero(),
	}, nil
}

func push(ctx context.Context, via Messages, key string, m *api.Message) (cid.Cid, error) {
	c, err := via.Send(ctx, key, m)
	if err == nil {
		return c, nil
	}
	if api.IsTemporary(err) || ctx.Err() != nil {
		return cid.Undef, fmt.Errorf("send %s: %w", key, err)
	}
	// The node refused it, most often because gas estimation ran the message
	// and it failed. Nothing was sent; the same key may be used again.
	return cid.Undef, failed(job{}, "the node refused %s: %w", key, err)
}

// await waits for a message. One that another message took the place of will
// never come: the next visit looks at the chain and sends again if need be.
func await(ctx context.Context, via Messages, work job, c cid.Cid) (*api.MsgLookup, error) {
	m, err := via.Wait(ctx, c)
	if errors.Is(err, msgs.ErrReplaced) {
		return nil, failed(work, "wait for %s message %s: %w", work, c, err)
	}
	if err != nil {
		return nil, fmt.Errorf("wait for %s message %s: %w", work, c, err)
	}
	return m, nil
}

func (s *Sealing) preCommitWait(ctx context.Context, r record) (event, error) {
	m, err := await(ctx, s.deps.Msgs, job{kind: jobPreCommit}, *r.PreCommitMsg)
	if err != nil {
		return event{}, err
	}
	// The chain has the last word: a message may fail because an earlier one did the same.
	o, err := s.look(ctx, r.Number, m.TipSet)
	switch {
	case err != nil:
		return event{}, err
	case o.mine(r):
		return landed(o), nil
	case !m.Receipt.ExitCode.IsSuccess():
		return event{}, failed(job{kind: jobPreCommit}, "pre-commit message %s failed with exit code %s", r.PreCommitMsg,
			m.Receipt.ExitCode)
	}
	return event{}, failed(job{kind: jobPreCommit}, "pre-commit message %s succeeded and yet the chain has no pre-commitment",
		r.PreCommitMsg)
}

// seed waits until the interactive challenge is drawn and settled.
func (s *Sealing) seed(ctx context.Context, r record) (event, error) {
	o, err := s.look(ctx, r.Number, nil)
	switch {
	case err != nil:
		return event{}, err
	case o.sector != nil:
		return activated(r, o)
	case !o.mine(r):
		return event{}, s.preCommitGone(ctx, r, o)
	}
	delay, err := s.challengeDelay(ctx)
	if err != nil {
		return event{}, err
	}
	epoch := o.preCommit.PreCommitEpoch + delay
	head, err := s.atHeight(ctx, epoch+max(s.cfg.SeedConfidence, 1))
	if head == nil || err != nil {
		return event{}, err
	}
	rnd, err := s.deps.Chain.StateGetRandomnessFromBeacon(ctx, crypto.DomainSeparationTag_InteractiveSealChallengeSeed,
		epoch, s.entropy, head.Key())
	if err != nil {
		return event{}, fmt.Errorf("draw the seed of epoch %d: %w", epoch, err)
	}
	return event{Kind: evSeed, Epoch: epoch, Random: rnd, Reason: fmt.Sprintf("epoch %d", epoch)}, nil
}

// preCommitGone explains a pre-commitment that is not there: too old and
// cleaned up for good, or taken back by a reorganisation.
func (s *Sealing) preCommitGone(ctx context.Context, r record, o onChain) error {
	allocated, err := s.deps.Chain.StateMinerSectorAllocated(ctx, s.cfg.Miner, r.Number, o.head.Key())
	if err != nil {
		return fmt.Errorf("ask whether number %d is used: %w", r.Number, err)
	}
	if allocated && o.head.Height > r.PreCommitEpoch+maxProveCommit {
		return fatal("the pre-commitment of epoch %d expired unproven; its number cannot be used again", r.PreCommitEpoch)
	}
	return failed(job{kind: jobPreCommit}, "the chain no longer has the pre-commitment of epoch %d", r.PreCommitEpoch)
}
