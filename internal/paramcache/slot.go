package paramcache

import (
	"context"
	"fmt"
	"sync"
)

// slot holds one thing that is opened once. Who opens it has the token; others
// who want the same thing wait for it, as long as their context lasts.
type slot[T any] struct {
	token chan struct{}
	have  bool
	value T
}

func newSlot[T any]() *slot[T] { return &slot[T]{token: make(chan struct{}, 1)} }

// slotOf is the slot of a name in a map that mu guards.
func slotOf[T any](mu *sync.Mutex, m map[string]*slot[T], name string) *slot[T] {
	mu.Lock()
	defer mu.Unlock()
	if m[name] == nil {
		m[name] = newSlot[T]()
	}
	return m[name]
}

// get opens the thing unless that was done. An error is not remembered: whoever
// waited tries for itself.
func (s *slot[T]) get(ctx context.Context, what string, open func() (T, error)) (T, error) {
	select {
	case s.token <- struct{}{}:
		defer func() { <-s.token }()
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("wait until %s is checked: %w", what, ctx.Err())
	}
	if s.have {
		return s.value, nil
	}
	v, err := open()
	if err == nil {
		s.value, s.have = v, true
	}
	return v, err
}
