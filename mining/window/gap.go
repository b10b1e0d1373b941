package window

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/filecoin-project/go-state-types/dline"

	"quarry/api"
	"quarry/chain/heads"
)

// recheck reads the state of open deadlines again when heads are missing from an
// event: what was reverted unseen may lie below a challenge, and declarations may
// have gone with it. A node that cannot be asked now is asked at the next head.
func (s *Scheduler) recheck(ctx context.Context, ev heads.Event) {
	if ev.Gap {
		s.suspect = true
		for open, d := range s.ahead {
			if ev.Head.Height+inclusion < d.info.FaultCutoff {
				d.end(errReverted)
				delete(s.ahead, open)
			}
		}
		s.deps.Log.Warn("window PoSt: heads are missing, reading the state of the open deadlines again", "height", ev.Head.Height)
	}
	if !s.suspect {
		return
	}
	for open, j := range s.jobs {
		was := j.rand.Load()
		if was == nil || j.window.Err() != nil {
			continue
		}
		now, err := s.challengeOf(ctx, j.info)
		if err != nil {
			s.repeated(err, "window PoSt: reading a challenge again after missing heads", "deadline", j.info.Index)
			return
		}
		if !bytes.Equal(now, *was) {
			s.deps.Log.Info("window PoSt: proving again, the challenge is another one", "deadline", j.info.Index, "open", open)
			j.endLife(errReverted)
			delete(s.jobs, open)
		}
	}
	s.suspect = false
}

// passed notes the deadlines that opened and closed since the last head.
func (s *Scheduler) passed(ctx context.Context, head *api.TipSet) {
	if s.last == nil {
		return
	}
	for n := range s.last.WPoStPeriodDeadlines {
		di := following(s.last, n)
		if di.Close > head.Height {
			return
		}
		if s.jobs[di.Open] == nil {
			s.spawn("counting a missed deadline", func() { s.noteMissed(ctx, di) })
		}
	}
}

// noteMissed counts a deadline that nobody proved because its heads never came. The
// chain tells whether anything was to be proven.
func (s *Scheduler) noteMissed(ctx context.Context, di *dline.Info) {
	for wait := retryPause; ctx.Err() == nil; wait = pause(ctx, wait) {
		parts, live, err := s.allFaulty(ctx, di)
		if err != nil {
			s.repeated(err, "window PoSt: asking what a deadline missed, will repeat", "deadline", di.Index)
			continue
		}
		if live == 0 {
			return
		}
		rec := api.PoStRecord{
			Deadline:   di.Index,
			Open:       di.Open,
			Partitions: parts,
			Time:       time.Now(),
			Error:      fmt.Sprintf("the deadline opened and closed while no head came from the node; its %d sectors are faulty", live),
		}
		s.deps.Log.Error("window PoSt: "+rec.Error, "deadline", di.Index, "open", di.Open, "partitions", parts)
		if err := s.book.missed(ctx, rec); err != nil {
			s.deps.Log.Warn("window PoSt: counting a missed deadline", "deadline", di.Index, "error", err)
		}
		return
	}
}

// allFaulty lists the partitions of which every live sector is faulty, and how
// many sectors these are.
func (s *Scheduler) allFaulty(ctx context.Context, di *dline.Info) (parts []uint64, sectors int, err error) {
	list, err := s.deps.Chain.StateMinerPartitions(ctx, s.cfg.Miner, di.Index, s.deps.Heads.Head().Key())
	if err != nil {
		return nil, 0, fmt.Errorf("partitions of deadline %d: %w", di.Index, err)
	}
	for i, p := range list {
		todo, err := readPart(uint64(i), p)
		if err != nil {
			return nil, 0, fmt.Errorf("partition %d of deadline %d: %w", i, di.Index, err)
		}
		live, err := p.LiveSectors.Count()
		if err != nil {
			return nil, 0, fmt.Errorf("partition %d of deadline %d: %w", i, di.Index, err)
		}
		if live > 0 && len(todo.prove) == 0 {
			parts = append(parts, uint64(i))
			sectors += int(live) // bounded by maxSectors
		}
	}
	return parts, sectors, nil
}
