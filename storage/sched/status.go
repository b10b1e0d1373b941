package sched

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"quarry/api"
)

// maxPage bounds one answer of List, in tasks.
const maxPage = 500

// Get gives a task's status.
func (s *Scheduler) Get(ctx context.Context, id api.UUID) (api.TaskStatus, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tasks[id]
	if t == nil {
		return api.TaskStatus{}, unknownTask(id)
	}
	return s.status(ctx, t), nil
}

// status is a task as it is shown. The caller holds mu.
func (s *Scheduler) status(ctx context.Context, t *task) api.TaskStatus {
	v := t.view()
	v.Waiting = s.waiting(ctx, t)
	return v
}

// Wait gives the status when the task is final, or ctx ends, or Config.TaskWait
// passed.
func (s *Scheduler) Wait(ctx context.Context, id api.UUID) (api.TaskStatus, error) {
	limit := time.NewTimer(s.cfg.TaskWait)
	defer limit.Stop()
	for last := false; ; {
		s.mu.Lock()
		t := s.tasks[id]
		if t == nil {
			s.mu.Unlock()
			return api.TaskStatus{}, unknownTask(id)
		}
		if last || t.Final() {
			defer s.mu.Unlock()
			return s.status(ctx, t), nil
		}
		if t.changed == nil {
			t.changed = make(chan struct{})
		}
		changed := t.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-limit.C:
			last = true
		case <-ctx.Done():
			last = true
		}
	}
}

// List pages through all tasks in the order of their submission.
func (s *Scheduler) List(ctx context.Context, cursor string, limit int) ([]api.TaskStatus, string, error) {
	from, err := parseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(s.bySeq, from, func(t *task, seq uint64) int { return cmp.Compare(t.Seq, seq) })
	rest := s.bySeq[i:]
	out := make([]api.TaskStatus, 0, min(limit, len(rest)))
	for _, t := range rest[:min(limit, len(rest))] {
		out = append(out, s.status(ctx, t))
	}
	if len(rest) <= limit {
		return out, "", nil
	}
	return out, formatCursor(rest[limit-1].Seq), nil
}

// formatCursor names the last task of a page.
func formatCursor(seq uint64) string { return fmt.Sprintf("t%d", seq) }

// parseCursor gives the number of the first task of the page that a cursor asks
// for; *api.ErrInvalid for anything that formatCursor does not write.
func parseCursor(cursor string) (from uint64, err error) {
	if cursor == "" {
		return 0, nil
	}
	after, err := strconv.ParseUint(strings.TrimPrefix(cursor, "t"), 10, 64)
	if err != nil || formatCursor(after) != cursor || after == math.MaxUint64 {
		return 0, &api.ErrInvalid{What: "cursor", Reason: "it was not given out by this method", Hint: "start with an empty cursor"}
	}
	return after + 1, nil
}

// Workers lists those heard of lately.
func (s *Scheduler) Workers(context.Context) ([]api.WorkerStatus, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]api.WorkerStatus, 0, len(s.workers))
	for _, w := range s.workers {
		st := api.WorkerStatus{WorkerInfo: copyInfo(w.WorkerInfo), LastSeen: w.seen}
		for _, t := range w.running {
			v := t.view()
			v.Result = nil
			st.Running = append(st.Running, v)
		}
		slices.SortFunc(st.Running, func(a, b api.TaskStatus) int { return cmp.Compare(a.Spec.Key, b.Spec.Key) })
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b api.WorkerStatus) int {
		return cmp.Or(cmp.Compare(a.Hostname, b.Hostname), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return out, nil
}

func copyInfo(w api.WorkerInfo) api.WorkerInfo {
	w.TaskTypes, w.GPUs, w.Paths = slices.Clone(w.TaskTypes), slices.Clone(w.GPUs), slices.Clone(w.Paths)
	return w
}

// EachBlob calls f with every bulk result that a task names.
func (s *Scheduler) EachBlob(f func(api.BlobRef)) {
	s.mu.Lock()
	all := make([]api.TaskStatus, 0, len(s.bySeq))
	for _, t := range s.bySeq {
		all = append(all, t.TaskStatus) // read only below, and never written in place
	}
	s.mu.Unlock()
	for _, t := range all {
		for _, ref := range api.BlobsOf(t) {
			f(ref)
		}
	}
}
