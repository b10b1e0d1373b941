package breaker

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Everybody in line gets a turn, in order, also when some leave.
func TestTheLineMovesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{Places: 1})
		var order []int
		var all sync.WaitGroup
		leave, cancel := context.WithCancel(t.Context())
		for i := range 6 {
			ctx := t.Context()
			if i == 1 || i == 3 {
				ctx = leave
			}
			all.Go(func() {
				err := b.Do(ctx, "a", limit, func(context.Context) error {
					order = append(order, i) // one place: never two at a time
					time.Sleep(time.Second)
					return nil
				})
				if (err != nil) != (i == 1 || i == 3) {
					t.Errorf("caller %d: %v", i, err)
				}
			})
			synctest.Wait()
		}
		time.Sleep(time.Second / 2)
		cancel()
		all.Wait()
		if !slices.Equal(order, []int{0, 2, 4, 5}) || len(b.States()) != 0 {
			t.Errorf("order %v, left %+v", order, b.States())
		}
	})
}

// One who leaves in the moment of its turn passes it on.
func TestATurnIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{Places: 1})
		free := make(chan struct{})
		go func() {
			_ = b.Do(t.Context(), "a", limit, func(context.Context) error { <-free; return nil })
		}()
		synctest.Wait()
		leave, cancel := context.WithCancel(t.Context())
		got := make(chan error, 2)
		for _, ctx := range []context.Context{leave, t.Context()} {
			go func() { got <- b.Do(ctx, "a", limit, func(context.Context) error { return nil }) }()
			synctest.Wait()
		}
		b.mu.Lock()
		clear(b.keys["a"].running) // the place is given back, the first has its turn,
		b.keys["a"].wake(1)
		cancel() // and leaves
		b.mu.Unlock()
		synctest.Wait()
		if len(got) != 2 {
			t.Errorf("%d of 2 callers came back", len(got))
		}
		close(free)
		synctest.Wait()
	})
}

func TestForgetMovesTheLineOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMount(1)
		m.start(1)
		done := make(chan error, 1)
		go func() { done <- m.quick() }()
		synctest.Wait()
		m.b.Forget("a")
		synctest.Wait()
		if len(done) != 1 {
			t.Fatal("the caller in line still waits for the old mount")
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		close(m.free)
		synctest.Wait()
	})
}
