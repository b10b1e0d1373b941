package prove

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/proofs/post"
)

// CheckProvable names the sectors that could not be proved now, with the reason.
// Each is compared with the CommR given for it: the length of the replica, p_aux,
// every file of tree-r-last, and a random leaf, or with Thorough as many as a
// deadline asks for and t_aux too.
func (p *Prover) CheckProvable(ctx context.Context, r api.ProvableRequest) (api.ProvableResult, error) {
	for _, s := range r.Sectors {
		if s.SealedCID == cid.Undef {
			return api.ProvableResult{}, &api.ErrInvalid{
				What:   fmt.Sprintf("check of sector %d", s.Number),
				Reason: "no CommR is given, and what lies beside the data proves nothing",
				Hint:   "take it from StateMinerSectors",
			}
		}
	}
	inner, cancel := within(ctx, r.Limit)
	defer cancel()
	prints, faults := each(r.Sectors, func(s api.ProvableSector) (string, *api.SectorFault) { return p.checkOne(inner, r.Miner, s) })
	if err := context.Cause(ctx); err != nil {
		return api.ProvableResult{}, err
	}
	out := api.ProvableResult{Faults: faults, Prints: map[abi.SectorNumber]string{}}
	for i, text := range prints {
		if text != "" {
			out.Prints[r.Sectors[i].Number] = text
		}
	}
	return out, nil
}

func (p *Prover) checkOne(ctx context.Context, miner abi.ActorID, in api.ProvableSector) (string, *api.SectorFault) {
	s := sector{
		id:       abi.SectorID{Miner: miner, Number: in.Number},
		info:     proof.SectorInfo{SealProof: in.SealProof, SectorNumber: in.Number, SealedCID: in.SealedCID},
		thorough: in.Thorough,
	}
	text, err := read(ctx, p, s, s.check)
	if err != nil {
		f := err.fault(in.Number)
		return "", &f
	}
	return text, nil
}

// check opens leaves of a copy; its print is empty unless it is thorough.
func (s sector) check(ctx context.Context, o *opened) (string, error) {
	if !s.thorough {
		return "", post.SelfCheck(ctx, s.id.Miner, o.SectorAccess)
	}
	draw := make([]byte, 32)
	if _, err := rand.Read(draw); err != nil {
		return "", fmt.Errorf("draw a random challenge: %w", err)
	}
	if _, err := oneOf(s.id.Miner, draw)(ctx, o); err != nil {
		return "", err
	}
	return o.print(ctx)
}

// Copy is one copy of a sector in one form, by the names of its files.
type Copy struct {
	Sector    abi.SectorID
	SealProof abi.RegisteredSealProof
	// SealedCID is the CommR that the copy has to have. Undefined: the one recorded
	// in its own cache, which finds damage but not another sector's files.
	SealedCID cid.Cid
	Replica   string // file
	Cache     string // directory
}

// CheckCopy proves one copy before the last other one is deleted: the length of
// the replica, every file that a cache keeps for the sector's life, and as many
// random leaves against CommR as a deadline asks for. nil means that the copy can
// stand alone. It hangs as long as the files do: a caller under a limit calls it
// through a breaker.
func CheckCopy(ctx context.Context, files FS, c Copy) error {
	if files == nil {
		files = OS{}
	}
	p := &Prover{deps: Deps{FS: files}}
	s := sector{
		id:       c.Sector,
		info:     proof.SectorInfo{SealProof: c.SealProof, SectorNumber: c.Sector.Number, SealedCID: c.SealedCID},
		thorough: true,
	}
	at := replica{sealed: place{dir: ".", name: c.Replica}, cached: place{dir: ".", name: c.Cache}}
	o, err := p.open(ctx, s, at)
	if err != nil {
		return kept(c, err)
	}
	defer o.close()
	if _, err := s.check(ctx, o); err != nil {
		return kept(c, o.blame(err))
	}
	return nil
}

func kept(c Copy, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("the copy of sector %s at %s is not whole, so no other is deleted: %w", api.SectorName(c.Sector), c.Replica, err)
}
