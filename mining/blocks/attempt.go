package blocks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/api"
	"quarry/mining/election"
	"quarry/mining/guard"
	"quarry/proofs/envelope"
)

// verdict is what became of an attempt that did not fail.
type verdict int

const (
	lost       verdict = iota // nothing was won
	sent                      // the block for the base is with the node
	ineligible                // the miner may not try
)

// notTried wraps the failure of an attempt that ended before the lot was drawn:
// the round is still worth trying.
type notTried struct{ error }

// Unwrap gives the cause.
func (e notTried) Unwrap() error { return e.error }

// attempt plays one epoch: is the miner eligible, did it win, and if so a
// block is proven, made, guarded and submitted. Errors that come before the draw
// are notTried.
func (p *Producer) attempt(ctx context.Context, a attempt, open abi.ChainEpoch) (verdict, error) {
	if done, err := p.again(ctx, a); done {
		return sent, err
	}
	if err := p.awaitEpoch(ctx, a, open); err != nil {
		return lost, notTried{err}
	}
	started := time.Now()
	info, err := p.deps.Chain.MinerGetBaseInfo(ctx, p.cfg.Miner, a.round(), a.base.Key())
	if err != nil {
		return lost, notTried{fmt.Errorf("ask whether %s may mine: %w", p.cfg.Miner, err)}
	}
	p.answered()
	if reason := whyNot(info); reason != "" {
		p.note(a.round(), false, reason)
		return ineligible, nil
	}
	p.note(a.round(), true, "")
	return p.draw(ctx, a, info, started)
}

// draw plays the round of an eligible miner.
func (p *Producer) draw(ctx context.Context, a attempt, info *api.MiningBaseInfo, started time.Time) (verdict, error) {
	beacon := info.PrevBeaconEntry.Data
	if n := len(info.BeaconEntries); n > 0 {
		beacon = info.BeaconEntries[n-1].Data
	}
	eproof, err := p.election(ctx, a, beacon, info)
	if err != nil || eproof.WinCount < 1 {
		return lost, err
	}
	ticket, err := p.ticket(ctx, a, beacon, info.WorkerKey)
	if err != nil {
		return lost, err
	}
	onBase, release := p.whileOn(ctx, a)
	winning, err := p.prove(onBase, a, beacon, info.Sectors)
	moved := context.Cause(onBase)
	release()
	if err != nil && errors.Is(moved, errTaken) {
		return lost, errTaken
	}
	if err != nil {
		return lost, err
	}
	return sent, p.publish(ctx, a, &api.BlockTemplate{
		Miner:            p.cfg.Miner,
		Parents:          a.base.Key(),
		Ticket:           ticket,
		Eproof:           eproof,
		BeaconValues:     info.BeaconEntries,
		Epoch:            a.round(),
		Timestamp:        p.timestamp(a),
		WinningPoStProof: winning,
	}, started)
}

// awaitEpoch waits until the node has the randomness of the epoch, which on a
// devnet is when the epoch opens. Rounds up to open have it there.
func (p *Producer) awaitEpoch(ctx context.Context, a attempt, open abi.ChainEpoch) error {
	if p.pace() > 0 && a.round() <= open {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.epochLength()+10*time.Second)
	defer cancel()
	onBase, release := p.whileOn(ctx, a)
	defer release()
	if _, err := p.deps.Chain.StateGetBeaconEntry(onBase, a.round()); err != nil {
		if errors.Is(context.Cause(onBase), errTaken) {
			return errTaken
		}
		return fmt.Errorf("wait for the beacon: %w", err)
	}
	return nil
}

// whyNot says why a miner with this information may not mine, empty when it may.
func whyNot(info *api.MiningBaseInfo) string {
	switch {
	case info == nil:
		return "the miner had no provable sectors 900 epochs ago; it becomes eligible when its first proven sectors are that old"
	case !info.EligibleForMining:
		return "the miner is below the minimum power, in debt, or punished for a consensus fault"
	case len(info.Sectors) == 0:
		return "no sector was drawn"
	}
	return ""
}

func (p *Producer) election(ctx context.Context, a attempt, beacon []byte, info *api.MiningBaseInfo) (*api.ElectionProof, error) {
	input := election.Draw(beacon, crypto.DomainSeparationTag_ElectionProofProduction, a.round(), p.entropy)
	vrf, err := p.sign(ctx, info.WorkerKey, input)
	if err != nil {
		return nil, fmt.Errorf("sign the election proof: %w", err)
	}
	return &api.ElectionProof{VRFProof: vrf, WinCount: election.WinCount(vrf, info.MinerPower, info.NetworkPower)}, nil
}

// ticket continues the ticket chain (lotus chain/gen/gen.go ComputeTicket; the
// rule of heights after the smoke upgrade).
func (p *Producer) ticket(ctx context.Context, a attempt, beacon []byte, worker address.Address) (*api.Ticket, error) {
	last := a.base.MinTicket()
	if last == nil {
		return nil, fmt.Errorf("the block %s has no ticket", a.base.Cids[0])
	}
	entropy := append(append([]byte(nil), p.entropy...), last.VRFProof...)
	input := election.Draw(beacon, crypto.DomainSeparationTag_TicketProduction, a.round()-1, entropy)
	vrf, err := p.sign(ctx, worker, input)
	if err != nil {
		return nil, fmt.Errorf("sign the ticket: %w", err)
	}
	return &api.Ticket{VRFProof: vrf}, nil
}

func (p *Producer) sign(ctx context.Context, worker address.Address, input []byte) ([]byte, error) {
	sig, err := p.deps.Chain.WalletSign(ctx, worker, input)
	if err != nil {
		return nil, fmt.Errorf("with worker key %s (is it in the full node's wallet?): %w", worker, err)
	}
	if sig == nil || sig.Type != crypto.SigTypeBLS {
		return nil, fmt.Errorf("the worker key %s is not a BLS key", worker)
	}
	return sig.Data, nil
}

// prove makes the winning PoSt: a Groth16 proof, or the name of a vanilla one,
// which is left with the node before anything refers to it.
func (p *Producer) prove(ctx context.Context, a attempt, beacon []byte, sectors []proof.ExtendedSectorInfo) ([]proof.PoStProof, error) {
	kind, err := sectors[0].SealProof.RegisteredWinningPoStProof()
	if err != nil {
		return nil, fmt.Errorf("winning PoSt type of sector %d: %w", sectors[0].SectorNumber, err)
	}
	rand := election.Draw(beacon, crypto.DomainSeparationTag_WinningPoStChallengeSeed, a.round(), p.entropy)
	blob, err := p.deps.Prover.ProveWinning(ctx, api.WinningPoStRequest{
		Miner: p.actor, Randomness: abi.PoStRandomness(rand), Sectors: sectors,
	})
	if err != nil {
		return nil, fmt.Errorf("winning PoSt over sector %d: %w", sectors[0].SectorNumber, err)
	}
	if p.deps.Snark != nil {
		field, err := p.deps.Snark.Winning(ctx, statement(p.actor, kind, rand, sectors), blob)
		if err != nil {
			return nil, fmt.Errorf("groth16 winning PoSt over sector %d: %w", sectors[0].SectorNumber, err)
		}
		return []proof.PoStProof{{PoStProof: kind, ProofBytes: field}}, nil
	}
	field, c := envelope.Wrap(blob)
	if err := p.deps.Chain.ChainPutObj(ctx, api.ObjBlock{Cid: c, Data: blob}); err != nil {
		return nil, fmt.Errorf("hand the winning proof to the node: %w", err)
	}
	return []proof.PoStProof{{PoStProof: kind, ProofBytes: field}}, nil
}

// statement is what a winning PoSt shows, with its proof still to be made.
func statement(miner abi.ActorID, kind abi.RegisteredPoStProof, rand []byte,
	sectors []proof.ExtendedSectorInfo) proof.WinningPoStVerifyInfo {
	info := proof.WinningPoStVerifyInfo{Randomness: rand, Proofs: []proof.PoStProof{{PoStProof: kind}}, Prover: miner}
	for _, s := range sectors {
		info.ChallengedSectors = append(info.ChallengedSectors,
			proof.SectorInfo{SealProof: s.SealProof, SectorNumber: s.SectorNumber, SealedCID: s.SealedCID})
	}
	return info
}

var errTaken = errors.New("the chain moved on before the block was ready")

// whileOn ends with the base of an attempt being the head: a proof for a base that
// the chain has left is not worth finishing. The caller must release it.
func (p *Producer) whileOn(ctx context.Context, a attempt) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	events := p.deps.Heads.Subscribe(ctx)
	wg.Go(func() {
		cancel(p.catch.Do("watching the head", func() error {
			for range events {
				if p.taken(a) {
					cancel(errTaken)
				}
			}
			return nil // the first cause counts
		}))
	})
	return ctx, func() {
		cancel(nil)
		wg.Wait()
	}
}

// publish makes the block of a won epoch and submits it, unless it came too
// late or the guard forbids it.
func (p *Producer) publish(ctx context.Context, a attempt, t *api.BlockTemplate, started time.Time) error {
	if p.taken(a) {
		return errTaken
	}
	var err error
	if t.Messages, err = p.deps.Chain.MpoolSelect(ctx, a.base.Key(), election.TicketQuality(t.Ticket.VRFProof)); err != nil {
		// An empty block still earns the reward and carries power.
		p.deps.Log.Warn("no messages for a won block", "epoch", a.round(), "cause", err)
		t.Messages = nil
	}
	b, err := p.deps.Chain.MinerCreateBlock(ctx, t)
	if err != nil {
		return fmt.Errorf("create a block: %w", err)
	}
	if b == nil || b.Header == nil || b.Header.Height != a.round() || b.Header.Miner != p.cfg.Miner {
		return errors.New("create a block: the node answered a block that was not asked for")
	}
	if err := p.holdUntilDue(ctx, a); err != nil {
		return err
	}
	if p.taken(a) {
		return errTaken
	}
	sent := &sentBlock{Block: b, Guarded: guard.Block{
		Miner:        p.cfg.Miner,
		Height:       a.round(),
		Parents:      api.TipSetKey(b.Header.Parents),
		ParentHeight: a.base.Height,
		Cid:          b.Header.Cid(),
	}}
	if err := p.release(ctx, sent); err != nil {
		return err
	}
	p.deps.Log.Info("block mined", "epoch", a.round(), "cid", sent.Guarded.Cid, "wins", t.Eproof.WinCount,
		"messages", len(t.Messages), "nulls", a.nulls(), "took", time.Since(started))
	return nil
}

// holdUntilDue waits for the block's timestamp on a real network, where
// blocks from the future are refused.
func (p *Producer) holdUntilDue(ctx context.Context, a attempt) error {
	if p.pace() > 0 {
		return nil
	}
	return wait(ctx, time.Until(p.epochStart(a)))
}
