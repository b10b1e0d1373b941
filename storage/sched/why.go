package sched

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"quarry/api"
)

// maxReasons bounds how many workers' reasons a status names.
const maxReasons = 3

// waiting says why a queued task is not running. The caller holds mu.
func (s *Scheduler) waiting(ctx context.Context, t *task) string {
	if t.State != api.TaskQueued || t.claiming {
		return ""
	}
	now := time.Now()
	if now.Before(t.NotBefore) {
		return fmt.Sprintf("it failed %d times and is tried again at %s", t.Tries, t.NotBefore.UTC().Format(time.RFC3339))
	}
	if sec := s.sectors[t.Spec.Sector]; sec != nil && sec.running != nil {
		return fmt.Sprintf("%s of the same sector runs", sec.running.Spec.Type)
	}
	var offers []*worker
	living := 0
	for _, w := range s.workers {
		if now.Sub(w.seen) > s.cfg.Silence {
			continue
		}
		living++
		if slices.Contains(w.TaskTypes, t.Spec.Type) {
			offers = append(offers, w)
		}
	}
	switch {
	case living == 0:
		return "no worker is connected"
	case len(offers) == 0:
		return fmt.Sprintf("none of the %d connected workers takes %s tasks", living, t.Spec.Type)
	}
	return s.reasons(ctx, t, offers)
}

// reasons is what stands in the way with each worker that takes such tasks.
func (s *Scheduler) reasons(ctx context.Context, t *task, offers []*worker) string {
	need, err := Needs(t.Spec.Type, t.Spec.Sector.ProofType)
	if err != nil {
		return err.Error()
	}
	slices.SortFunc(offers, func(a, b *worker) int { return strings.Compare(name(a.WorkerInfo), name(b.WorkerInfo)) })
	var out []string
	for _, w := range offers {
		why := s.reason(ctx, t, need, w)
		if why == "" {
			return "a worker will take it next"
		}
		if text := "worker " + name(w.WorkerInfo) + ": " + why; !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	if n := len(out) - maxReasons; n > 0 {
		out = append(out[:maxReasons:maxReasons], fmt.Sprintf("and %d more", n))
	}
	return strings.Join(out, "; ")
}

func (s *Scheduler) reason(ctx context.Context, t *task, need Resources, w *worker) string {
	if _, why := s.reach(ctx, w.WorkerInfo, t.TaskStatus); why != "" {
		return why
	}
	switch {
	case w.MemBytes > 0 && need.MemBytes > w.MemBytes:
		return fmt.Sprintf("it needs %s of memory, the worker offers %s", humanize.IBytes(need.MemBytes), humanize.IBytes(w.MemBytes))
	case !need.fits(w.used(), w.WorkerInfo):
		return fmt.Sprintf("busy with %d tasks", len(w.running))
	}
	return ""
}
