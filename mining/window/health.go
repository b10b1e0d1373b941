package window

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/ipfs/go-datastore"

	"quarry/api"
)

// maxExam is how long the files of a partition are looked at, on the wall clock:
// on a sick disk proofs must not wait for it. What was not seen is in doubt.
const maxExam = 5 * time.Minute

// health is what the files say against what the chain says, of a whole deadline.
type health struct {
	checked int
	reached int // of these, sectors whose files were seen, sound or not
	parts   []partHealth
	healthy map[uint64]bool // live and not faulty on chain: no recovery is open
}

type partHealth struct {
	partition uint64
	broken    []api.SectorFault // not yet faulty on chain
	whole     map[uint64]string // faulty on chain and readable, with the print
}

// examine checks the files of a partition's live sectors against the CommR that
// the chain has, those that are faulty on chain thoroughly.
func (s *Scheduler) examine(ctx context.Context, index uint64, p api.Partition, h *health) error {
	live, err := p.LiveSectors.All(maxSectors)
	if err != nil || len(live) == 0 {
		return err
	}
	faulty, err := p.FaultySectors.AllMap(maxSectors)
	if err != nil {
		return err
	}
	recovering, err := p.RecoveringSectors.AllMap(maxSectors)
	if err != nil {
		return err
	}
	infos, err := s.sectors(ctx, live)
	if err != nil {
		return err
	}
	req := api.ProvableRequest{Miner: s.actor, Limit: maxExam}
	for _, n := range live {
		if h.healthy[n] = !faulty[n]; recovering[n] {
			continue
		}
		req.Sectors = append(req.Sectors, api.ProvableSector{
			Number:    abi.SectorNumber(n),
			SealProof: infos[n].SealProof,
			SealedCID: infos[n].SealedCID,
			Thorough:  faulty[n],
		})
	}
	if len(req.Sectors) == 0 {
		return nil
	}
	res, err := s.deps.Prover.CheckProvable(ctx, req)
	if err != nil {
		return fmt.Errorf("check the files of %d sectors: %w", len(req.Sectors), err)
	}
	h.add(index, req.Sectors, res, faulty)
	return nil
}

func (h *health) add(index uint64, asked []api.ProvableSector, res api.ProvableResult, faulty map[uint64]bool) {
	bad := map[abi.SectorNumber]api.SectorFault{}
	for _, f := range res.Faults {
		bad[f.Sector] = f
	}
	out := partHealth{partition: index, whole: map[uint64]string{}}
	for _, a := range asked {
		n := uint64(a.Number)
		f, broken := bad[a.Number]
		h.checked++
		if !broken || f.Reason == api.FaultDamaged || f.Reason == api.FaultOtherSeal {
			h.reached++
		}
		switch {
		case broken && !faulty[n]:
			out.broken = append(out.broken, f)
		case !broken && faulty[n]:
			out.whole[n] = res.Prints[a.Number]
		}
	}
	h.parts = append(h.parts, out)
}

func (h *health) broken() []api.SectorFault {
	var out []api.SectorFault
	for _, p := range h.parts {
		out = append(out, p.broken...)
	}
	return out
}

// doubts is why no fault is declared although sectors cannot be read: it may be
// this node, not they. missing is why files that are not there may be elsewhere.
type doubts struct{ all, missing string }

// doubt asks how far the prover can be believed. A fault that is not declared
// beforehand costs nothing: the proof skips what it cannot read, with the same
// penalty, and by then it may be readable.
func (s *Scheduler) doubt(ctx context.Context, di *dline.Info, h *health) (doubts, error) {
	st, err := s.deps.Prover.ProverState(ctx)
	if err != nil {
		return doubts{}, fmt.Errorf("ask how far the prover can be believed: %w", err)
	}
	gone, err := s.book.absent(ctx, st.Paths, s.deps.Heads.Head().Height, di.WPoStProvingPeriod)
	if err != nil {
		return doubts{}, err
	}
	var d doubts
	switch {
	case !st.Opened:
		d.all = "not every configured storage path was opened since the start: " + strings.Join(st.Unopened, ", ")
	case h.reached == 0:
		d.all = "not one sector of the deadline can be read here"
	case st.Readable == 0:
		d.all = "not one sector could be read since the start"
	}
	if len(gone) > 0 {
		d.missing = fmt.Sprintf("paths seen before are not attached: %v", gone)
	}
	if len(st.Hung) > 0 {
		d.missing = fmt.Sprintf("these do not answer: %v", st.Hung)
	}
	return d, nil
}

// declarable are the faults of which there is no doubt that they are the sectors'.
func (d doubts) declarable(faults []api.SectorFault) (out []uint64) {
	for _, f := range faults {
		if d.all == "" && f.Reason.Certain() && (f.Reason != api.FaultMissing || d.missing == "") {
			out = append(out, uint64(f.Sector))
		}
	}
	return out
}

// say tells what is not declared, and why.
func (s *Scheduler) say(di *dline.Info, h *health, d doubts) {
	broken := h.broken()
	s.mu.Lock()
	s.unreadable[di.Index] = broken
	delete(s.alerts, di.Index)
	if d.all != "" && len(broken) > 0 {
		alert := fmt.Sprintf("%d of %d sectors of deadline %d cannot be read, and no fault is declared: %s",
			len(broken), h.checked, di.Index, d.all)
		s.alerts[di.Index] = alert
		s.mu.Unlock()
		s.deps.Log.Error("PROVING IS IN DANGER: "+alert+"; check mounts and storage.json now", "deadline", di.Index, "reasons",
			tell(broken))
		return
	}
	s.mu.Unlock()
	for _, f := range broken {
		declared := len(d.declarable([]api.SectorFault{f})) > 0
		s.deps.Log.Warn("sector cannot be proven", "sector", f.Sector, "reason", f, "declared", declared, "doubt", d.missing)
	}
}

// tell sums faults up: how many of each reason, and the first of each.
func tell(faults []api.SectorFault) string {
	count, first := map[api.FaultReason]int{}, map[api.FaultReason]api.SectorFault{}
	for _, f := range faults {
		if count[f.Reason]++; count[f.Reason] == 1 {
			first[f.Reason] = f
		}
	}
	var out []string
	for reason, n := range count {
		out = append(out, fmt.Sprintf("%d %s (sector %d: %s)", n, reason, first[reason].Sector, first[reason]))
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// look keeps what a proof found out about the sectors of a batch.
func (s *Scheduler) look(di *dline.Info, r *reading) {
	if err := s.failedAgain(context.Background(), di.Open, r.batch, r.why); err != nil {
		s.deps.Log.Warn("window PoSt: writing down recoveries that failed", "deadline", di.Index, "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	mine := map[abi.SectorNumber]bool{}
	for _, p := range r.batch {
		for _, n := range p.prove {
			mine[abi.SectorNumber(n)] = true
		}
	}
	kept := slices.DeleteFunc(slices.Clone(s.unreadable[di.Index]), func(f api.SectorFault) bool { return mine[f.Sector] })
	s.unreadable[di.Index] = append(kept, r.faults()...)
	if len(r.skip) == 0 {
		delete(s.alerts, di.Index)
	}
}

var pathsKey = datastore.NewKey("/paths")

// absent keeps which storage paths were seen attached, and when last, and lists
// those that are not attached now. One that was not for a whole proving period is
// forgotten: whatever lay on it is faulty by then.
func (b *book) absent(ctx context.Context, now []api.StorageID, height, period abi.ChainEpoch) ([]api.StorageID, error) {
	seen := map[api.StorageID]abi.ChainEpoch{}
	v, err := b.store.Get(ctx, pathsKey)
	if err == nil {
		err = json.Unmarshal(v, &seen)
	}
	if err != nil && !errors.Is(err, datastore.ErrNotFound) {
		return nil, fmt.Errorf("read which storage paths were seen: %w", err)
	}
	for _, id := range now {
		seen[id] = height
	}
	var gone []api.StorageID
	for id, at := range seen {
		switch {
		case height-at > period:
			delete(seen, id)
		case !slices.Contains(now, id):
			gone = append(gone, id)
		}
	}
	slices.Sort(gone)
	if v, err = json.Marshal(seen); err == nil {
		err = b.store.Put(ctx, pathsKey, v)
	}
	if err != nil {
		return nil, fmt.Errorf("write down which storage paths were seen: %w", err)
	}
	return gone, nil
}
