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

// Bounds of one page.
const (
	maxPage = 500    // tasks
	maxLook = 10_000 // tasks looked at, where most are not wanted
)

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
	page, err := s.Query(ctx, api.TaskQuery{Cursor: cursor, Limit: limit})
	return page.Tasks, page.Next, err
}

// Query pages through the tasks that a query picks, in the order of their
// submission. What holds up claims does not grow with the page: tasks are picked
// in one go, and each is told why it waits by itself.
func (s *Scheduler) Query(ctx context.Context, q api.TaskQuery) (api.TaskPage, error) {
	from, err := parseCursor(q.Cursor)
	if err != nil {
		return api.TaskPage{}, err
	}
	if q.Limit <= 0 || q.Limit > maxPage {
		q.Limit = maxPage
	}
	picked, next := s.pick(q, from)
	page := api.TaskPage{Tasks: make([]api.TaskStatus, 0, len(picked)), Next: next}
	for _, t := range picked {
		if v, ok := s.summary(ctx, t); ok {
			page.Tasks = append(page.Tasks, v)
		}
	}
	return page, nil
}

func (s *Scheduler) pick(q api.TaskQuery, from uint64) (out []*task, next string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(s.bySeq, from, func(t *task, seq uint64) int { return cmp.Compare(t.Seq, seq) })
	for looked, t := range s.bySeq[i:] {
		if len(out) == q.Limit || looked == maxLook {
			return out, formatCursor(s.bySeq[i+looked-1].Seq)
		}
		s.touched++
		if wanted(q, t) {
			out = append(out, t)
		}
	}
	return out, ""
}

func wanted(q api.TaskQuery, t *task) bool {
	return (len(q.States) == 0 || slices.Contains(q.States, t.State)) && (len(q.Types) == 0 || slices.Contains(q.Types, t.Spec.Type)) &&
		(q.Sector == nil || *q.Sector == t.Spec.Sector.ID)
}

// summary is the task for a list; false for one that was forgotten meanwhile.
func (s *Scheduler) summary(ctx context.Context, t *task) (v api.TaskStatus, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.gone {
		return v, false
	}
	v = t.summary()
	v.Waiting = s.waiting(ctx, t)
	return v, true
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
			st.Running = append(st.Running, t.summary())
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
