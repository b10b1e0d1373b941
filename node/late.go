package node

import (
	"sync"

	"quarry/api"
)

// late is a part that may be built anew while the process runs: between two
// lives of it callers are told to come again.
type late[T any] struct {
	name string

	mu   sync.Mutex
	impl T
	runs bool
}

func newLate[T any](name string) *late[T] { return &late[T]{name: name} }

// is makes impl what get gives, until the returned function is called.
func (l *late[T]) is(impl T) (over func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.impl, l.runs = impl, true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.impl, l.runs = *new(T), false
	}
}

// get is the part, or *api.ErrUnreachable: the outcome of a call that was under
// way when the part failed is as unknown as that of a lost connection.
func (l *late[T]) get() (T, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.runs {
		return *new(T), &api.ErrUnreachable{Peer: "the part " + l.name,
			Reason: "it has failed and is started again; `miner info` of that process says why"}
	}
	return l.impl, nil
}
