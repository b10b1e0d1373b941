package sched

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// taskOrder sorts equal priorities: what frees space or finishes a sector goes
// before what starts a new one (lotus sealtasks/task.go).
var taskOrder = map[api.TaskType]int{
	api.TaskFinalize:       -3,
	api.TaskFinalizeUpdate: -2,
	api.TaskUnseal:         1,
	api.TaskCommit1:        2,
	api.TaskCommit2:        3,
	api.TaskPreCommit2:     4,
	api.TaskPreCommit1:     5,
	api.TaskProveUpdate1:   6,
	api.TaskProveUpdate2:   7,
	api.TaskUpdate:         8,
	api.TaskAddPiece:       9,
}

// order is which of two tasks goes first.
func order(a, b *task) int {
	return cmp.Or(cmp.Compare(b.Spec.Priority, a.Spec.Priority),
		cmp.Compare(taskOrder[a.Spec.Type], taskOrder[b.Spec.Type]), cmp.Compare(a.Seq, b.Seq))
}

// class is tasks that take the same resources.
type class struct {
	kind  api.TaskType
	proof abi.RegisteredSealProof
}

// readyTasks are the queued tasks that may start now, each class in order.
type readyTasks map[class][]*task

func classOf(t *task) class { return class{t.Spec.Type, t.Spec.Sector.ProofType} }

func (r readyTasks) insert(t *task) {
	c := classOf(t)
	if i, there := slices.BinarySearchFunc(r[c], t, order); !there {
		r[c] = slices.Insert(r[c], i, t)
	}
}

func (r readyTasks) remove(t *task) {
	c := classOf(t)
	i, there := slices.BinarySearchFunc(r[c], t, order)
	if !there {
		return
	}
	switch {
	case len(r[c]) == 1:
		delete(r, c)
	case i == 0: // the usual one, however long the queue is
		r[c][0] = nil
		r[c] = r[c][1:]
	default:
		r[c] = slices.Delete(r[c], i, i+1)
	}
}

// delayedTasks are the queued tasks whose time has not come, the earliest first.
type delayedTasks []*task

// Len implements heap.Interface.
func (d delayedTasks) Len() int { return len(d) }

// Less implements heap.Interface.
func (d delayedTasks) Less(i, j int) bool { return d[i].NotBefore.Before(d[j].NotBefore) }

// Swap implements heap.Interface.
func (d delayedTasks) Swap(i, j int) { d[i], d[j] = d[j], d[i] }

// Push implements heap.Interface.
func (d *delayedTasks) Push(x any) { *d = append(*d, x.(*task)) } //nolint:forcetypeassert // the heap of tasks

// Pop implements heap.Interface.
func (d *delayedTasks) Pop() any {
	old := *d
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*d = old[:len(old)-1]
	return t
}

// enqueue puts a queued task where it waits: for its time, for its sector, or for
// a worker. The caller holds mu.
func (s *Scheduler) enqueue(t *task) {
	if time.Now().Before(t.NotBefore) {
		heap.Push(&s.delayed, t)
		s.wake() // those who wait learn when
		return
	}
	sec := s.sector(t.Spec.Sector)
	sec.waiting = append(sec.waiting, t)
	if sec.running == nil {
		s.ready.insert(t)
	}
	s.wake()
}

func (s *Scheduler) dequeue(t *task) {
	s.ready.remove(t)
	if i := slices.Index(s.delayed, t); i >= 0 {
		heap.Remove(&s.delayed, i)
	}
	if sec := s.sectors[t.Spec.Sector]; sec != nil {
		sec.waiting = slices.DeleteFunc(sec.waiting, func(p *task) bool { return p == t })
		s.tidy(t.Spec.Sector)
	}
}

// due makes the delayed tasks ready whose time has come, and tells when the next
// one's comes; zero when there is none.
func (s *Scheduler) due(now time.Time) time.Time {
	for len(s.delayed) > 0 {
		t := s.delayed[0]
		if now.Before(t.NotBefore) {
			return t.NotBefore
		}
		heap.Pop(&s.delayed)
		s.enqueue(t)
	}
	return time.Time{}
}

// inOrder gives the ready tasks of the classes that want says, first one first,
// until yield returns false. want is asked about a class when the first of its
// tasks comes up.
func (s *Scheduler) inOrder(want func(class) bool, yield func(*task) bool) {
	heads := map[class]int{}
	for c := range s.ready {
		heads[c] = 0
	}
	for len(heads) > 0 {
		var first *task
		for c, i := range heads {
			if t := s.ready[c][i]; first == nil || order(t, first) < 0 {
				first = t
			}
		}
		c := classOf(first)
		if heads[c] == 0 && !want(c) {
			delete(heads, c)
			continue
		}
		if !yield(first) {
			return
		}
		if heads[c]++; heads[c] == len(s.ready[c]) {
			delete(heads, c)
		}
	}
}
