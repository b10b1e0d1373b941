package sealing

import (
	"bytes"
	"context"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/proofs/commp"
)

// ticketSlack is how many epochs before the last possible one a ticket counts
// as too old to pre-commit with.
const ticketSlack abi.ChainEpoch = 30

// addressEntropy is what seal randomness is bound to: the CBOR of the miner's
// ID address (actors miner/src/lib.rs, get_verify_info).
func addressEntropy(a address.Address) ([]byte, error) {
	var b bytes.Buffer
	if err := a.MarshalCBOR(&b); err != nil {
		return nil, fmt.Errorf("encode address %s: %w", a, err)
	}
	return b.Bytes(), nil
}

// ticket draws the randomness the replica is bound to, one finality back so
// that no reorganisation can take it away. A chain younger than that gives its
// genesis ticket.
func (s *Sealing) ticket(ctx context.Context, r record) (event, error) {
	if err := s.provable(); err != nil {
		return event{}, err
	}
	head, err := s.head(ctx)
	if err != nil {
		return event{}, err
	}
	epoch := max(head.Height-miner.ChainFinality, 0)
	rnd, err := s.deps.Chain.StateGetRandomnessFromTickets(ctx, crypto.DomainSeparationTag_SealRandomness, epoch, s.entropy, head.Key())
	if err != nil {
		return event{}, fmt.Errorf("draw the ticket of epoch %d: %w", epoch, err)
	}
	return event{Kind: evTicket, Epoch: epoch, Random: rnd, Reason: fmt.Sprintf("epoch %d", epoch)}, nil
}

// ticketTooOld compares with what the miner actor accepts
// (MaxPreCommitRandomnessLookback, actors runtime/src/runtime/policy.rs).
func ticketTooOld(r record, now abi.ChainEpoch) bool {
	return now-r.TicketEpoch > miner.MaxPreCommitRandomnessLookback-ticketSlack
}

// dataPieces are the pieces PC1 and the chain compute CommD from: none for a
// sector of zeros.
func (r *record) dataPieces() []abi.PieceInfo {
	if r.CC {
		return nil
	}
	return r.infos()
}

// inTime gives a sector up before hours of work when a deal in it starts before
// it could be proven: the others can still go elsewhere.
func (s *Sealing) inTime(ctx context.Context, r record) (*api.TipSet, error) {
	head, err := s.head(ctx)
	if err != nil {
		return nil, err
	}
	start, _, ok := r.dealSpan()
	if !ok {
		return head, nil
	}
	delay := abi.ChainEpoch(0)
	if r.Update == nil {
		if delay, err = s.challengeDelay(ctx); err != nil {
			return nil, err
		}
	}
	if start <= head.Height+delay {
		return nil, fatal("a deal starts at epoch %d, it is %d: the sector cannot be proven in time", start, head.Height)
	}
	return head, nil
}

func (s *Sealing) preCommit1(ctx context.Context, l *lane, r record) (event, error) {
	head, err := s.inTime(ctx, r)
	if err != nil {
		return event{}, err
	}
	if r.PreCommitEpoch == 0 && ticketTooOld(r, head.Height) {
		return event{Kind: evTicketExpired, Reason: fmt.Sprintf("ticket of epoch %d is too old at %d", r.TicketEpoch, head.Height)}, nil
	}
	out, err := run(ctx, s, l, r, keyed[api.PreCommit1Params, api.PreCommit1Out]{
		task:   api.PreCommit1,
		job:    job{kind: jobPC1},
		rest:   fmt.Sprintf("%x", r.Ticket),
		params: api.PreCommit1Params{Ticket: r.Ticket, Pieces: r.dataPieces()},
	})
	if err != nil {
		return event{}, s.dataFailure(ctx, l, r, job{kind: jobPC1}, asFailure(err))
	}
	return event{Kind: evPC1, PC1Out: out}, nil
}

func (s *Sealing) preCommit2(ctx context.Context, l *lane, r record) (event, error) {
	if _, err := s.inTime(ctx, r); err != nil {
		return event{}, err
	}
	pc2 := job{kind: jobPC2}
	out, err := run(ctx, s, l, r, keyed[api.PreCommit2Params, api.PreCommit2Result]{
		task: api.PreCommit2,
		job:  pc2,
		// The key names the PC1 run too: computing that again makes this new.
		rest:   fmt.Sprintf("%x/%d", r.Ticket, r.Attempts[job{kind: jobPC1}]),
		params: api.PreCommit2Params{PreCommit1Out: r.PC1Out},
		waits:  func(ctx context.Context) error { return s.filesLost(ctx, l, r, api.FileCache) },
	})
	if err != nil {
		return event{}, s.dataFailure(ctx, l, r, pc2, asFailure(err))
	}
	commR, err := cid.Decode(string(out.SealedCID))
	if err != nil {
		return event{}, failed(pc2, "PC2 gave the sealed CID %q: %w", out.SealedCID, err)
	}
	commD, err := cid.Decode(string(out.UnsealedCID))
	if err != nil {
		return event{}, failed(pc2, "PC2 gave the unsealed CID %q: %w", out.UnsealedCID, err)
	}
	want, err := commp.CommD(r.ProofType, r.dataPieces())
	if err != nil {
		return event{}, fatal("the pieces of the sector have no data commitment: %w", err)
	}
	if commD != want {
		err := failed(pc2, "the sealed data has commitment %s, the pieces have %s: the unsealed file is damaged", commD, want)
		return event{}, s.dataFailure(ctx, l, r, pc2, err)
	}
	return event{
		Kind:        evPC2,
		CommD:       &commD,
		CommR:       &commR,
		Commitments: out.Commitments,
		Reason:      commR.String(),
	}, nil
}

func (s *Sealing) finalize(ctx context.Context, l *lane, r record) (event, error) {
	_, err := run(ctx, s, l, r, keyed[api.FinalizeParams, api.Nothing]{
		task:   api.Finalize,
		job:    job{kind: jobFinalize},
		params: api.FinalizeParams{KeepUnsealed: r.keepUnsealed(s.cfg.AlwaysKeepUnsealed)},
	})
	if err != nil {
		return event{}, asFailure(err)
	}
	if s.cfg.MarkCC && r.CC && r.Update == nil {
		return event{Kind: evFinalizedFree, Reason: "new sectors of zeros are marked by themselves"}, nil
	}
	return event{Kind: evFinalized}, nil
}

// remove looks once more before it deletes: what the chain has taken meanwhile
// has to be proven.
func (s *Sealing) remove(ctx context.Context, r record) (event, error) {
	o, err := s.look(ctx, r.Number, nil)
	switch {
	case err != nil:
		return event{}, err
	case o.sector != nil && r.CommR != nil && o.sector.SealedCID == *r.CommR && o.sector.Expiration > o.head.Height:
		return activated(r, o)
	}
	s.cancelTasks(ctx, r) // those that run hold the files
	if err := s.deps.Storage.RemoveSector(ctx, s.id(r.Number)); err != nil {
		return event{}, fmt.Errorf("remove the files of %s: %w", s.name(r.Number), err)
	}
	return event{Kind: evRemoved}, nil
}

// provable refuses to begin what cannot be finished.
func (s *Sealing) provable() error {
	if s.cfg.VanillaAccepted || s.cfg.Groth16 {
		return nil
	}
	return &api.ErrUnsupportedProof{What: "new sectors on this network",
		Hint: "it takes Groth16 proofs only; set Form = \"groth16\" under [Proving], or connect to a Quarry devnet"}
}
