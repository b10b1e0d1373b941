package breaker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const (
	limit = 30 * time.Second
	retry = 10 * time.Second
)

// mount is a thing that hangs until it is let go.
type mount struct {
	b    *Breaker
	free chan struct{}
}

func newMount(places int) *mount {
	return &mount{b: New(Config{Places: places, Retry: retry}), free: make(chan struct{})}
}

func (m *mount) hang() error {
	return m.b.Do(context.Background(), "a", limit, func(context.Context) error { <-m.free; return nil })
}

func (m *mount) quick() error {
	return m.b.Do(context.Background(), "a", limit, func(context.Context) error { return nil })
}

func (m *mount) state(t *testing.T) State {
	t.Helper()
	list := m.b.States()
	if len(list) != 1 || list[0].Key != "a" {
		t.Fatalf("states %+v, want one of key a", list)
	}
	return list[0]
}

// start makes n calls that hang, and gives their errors when they have them.
func (m *mount) start(n int) chan error {
	errs := make(chan error, n)
	for range n {
		go func() { errs <- m.hang() }()
	}
	synctest.Wait()
	return errs
}

func isHung(t *testing.T, err error, since time.Time) {
	t.Helper()
	var hung *ErrHung
	if !errors.As(err, &hung) || hung.Key != "a" || !hung.Since.Equal(since) {
		t.Errorf("error %v, want hung since %s", err, since)
	}
}

func TestResultAndErrorOfTheCallComeThrough(t *testing.T) {
	b := New(Config{})
	v, err := Get(t.Context(), b, "a", limit, func(context.Context) (int, error) { return 7, nil })
	if v != 7 || err != nil {
		t.Errorf("%d, %v", v, err)
	}
	own := errors.New("no such file")
	if err := b.Do(t.Context(), "a", limit, func(context.Context) error { return own }); !errors.Is(err, own) {
		t.Errorf("error %v", err)
	}
	if left := b.States(); len(left) != 0 {
		t.Errorf("a key without calls is kept: %+v", left)
	}
}

// The first call costs its caller the limit, those in line are let go then, and
// every later one is refused at once. Other keys do not notice.
func TestAHungKeyCostsOneLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMount(2)
		began := time.Now()
		errs := m.start(6)
		if s := m.state(t); s.Hung || s.Running != 2 || s.Overdue != 0 || !s.Since.IsZero() {
			t.Errorf("at the beginning %+v", s)
		}
		time.Sleep(limit - 1)
		synctest.Wait()
		if len(errs) != 0 || m.b.Hung("a") != nil {
			t.Errorf("%d callers gave up before the limit", len(errs))
		}
		time.Sleep(1)
		synctest.Wait()
		if len(errs) != 6 {
			t.Fatalf("%d of 6 callers know at the limit", len(errs))
		}
		for range 6 {
			isHung(t, <-errs, began)
		}
		before := time.Now()
		isHung(t, m.quick(), began)
		isHung(t, m.b.Hung("a"), began)
		if !time.Now().Equal(before) {
			t.Error("a refusal took time")
		}
		if s := m.state(t); !s.Hung || s.Running != 2 || s.Overdue != 2 || !s.Since.Equal(began) {
			t.Errorf("state %+v", s)
		}
		if err := m.b.Do(t.Context(), "b", limit, func(context.Context) error { return nil }); err != nil {
			t.Errorf("another key: %v", err)
		}
		close(m.free)
		synctest.Wait()
		if err := m.quick(); err != nil || len(m.b.States()) != 0 {
			t.Errorf("after the old calls came back: %v, %+v", err, m.b.States())
		}
	})
}

// One probe at a time, never before the pause is over, and a pause that doubles
// while probes do not come back.
func TestProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMount(1)
		began := time.Now()
		<-m.start(1) // hung now
		for i, pause := range []time.Duration{retry, 2 * retry, 4 * retry} {
			time.Sleep(pause - 1)
			if isHung(t, m.quick(), began); m.state(t).Running != 1+i {
				t.Fatalf("probe %d began before its pause was over", i)
			}
			time.Sleep(1)
			probe := m.start(1)
			if s := m.state(t); s.Running != 2+i || !s.Hung {
				t.Fatalf("probe %d: %+v", i, s)
			}
			isHung(t, m.quick(), began)
			if len(probe) != 0 {
				t.Error("the caller of a probe does not wait for it")
			}
			if i == 0 {
				time.Sleep(limit) // longer than the next pause
				isHung(t, <-probe, began)
				probe = m.start(1)
				time.Sleep(limit)
				isHung(t, <-probe, began)
				break
			}
		}
		close(m.free)
		synctest.Wait()
	})
}

func TestAProbeThatComesBackHeals(t *testing.T) {
	for name, result := range map[string]error{"well": nil, "with an error": errors.New("i/o error")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMount(1)
				<-m.start(1)
				time.Sleep(retry)
				if err := m.b.Do(t.Context(), "a", limit, func(context.Context) error { return result }); !errors.Is(err, result) {
					t.Errorf("probe: %v", err)
				}
				if m.b.Hung("a") != nil {
					t.Error("still hung")
				}
				// The old call still has the only place: the key is hung again only after its limit.
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				if err := m.b.Do(ctx, "a", limit, func(context.Context) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("a call without a place: %v", err)
				}
				close(m.free)
				synctest.Wait()
			})
		})
	}
}

// A call that is overdue while others of its key come back is slow by itself.
func TestOneSlowCallDoesNotCondemnTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMount(2)
		errs := m.start(1)
		time.Sleep(limit / 2)
		if err := m.quick(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(limit / 2)
		synctest.Wait()
		var slow *ErrSlow
		if err := <-errs; !errors.As(err, &slow) || slow.Key != "a" || slow.Limit != limit || !strings.Contains(err.Error(), "30s") {
			t.Errorf("error %v", err)
		}
		if err := m.quick(); err != nil || m.b.Hung("a") != nil {
			t.Errorf("the key was condemned: %v", err)
		}
		since := time.Now() // when a call last came back
		time.Sleep(1)
		errs = m.start(1) // takes the last place
		time.Sleep(limit)
		isHung(t, <-errs, since)
		close(m.free)
		synctest.Wait()
	})
}

// A caller that leaves takes its context with it, and the call is watched on.
func TestACallerMayLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMount(1)
		gone := errors.New("the deadline closed")
		ctx, cancel := context.WithCancelCause(t.Context())
		told := make(chan struct{})
		errs := make(chan error, 2)
		go func() {
			errs <- m.b.Do(ctx, "a", limit, func(ctx context.Context) error {
				<-ctx.Done()
				close(told)
				<-m.free
				return nil
			})
		}()
		synctest.Wait()
		go func() { errs <- m.b.Do(ctx, "a", limit, func(context.Context) error { return nil }) }()
		synctest.Wait()
		began := time.Now()
		cancel(gone)
		<-told
		for range 2 {
			if err := <-errs; !errors.Is(err, gone) {
				t.Errorf("error %v", err)
			}
		}
		time.Sleep(limit)
		synctest.Wait()
		isHung(t, m.quick(), began)
		close(m.free)
		synctest.Wait()
		if err := m.b.Do(ctx, "a", limit, func(context.Context) error { t.Error("ran"); return nil }); !errors.Is(err, gone) {
			t.Errorf("a caller that was gone before: %v", err)
		}
		if left := m.b.States(); len(left) != 0 {
			t.Errorf("left behind: %+v", left)
		}
	})
}

func TestDefaults(t *testing.T) {
	if b := New(Config{}); b.cfg.Places != 8 || b.cfg.Retry != 10*time.Second {
		t.Errorf("%+v", b.cfg)
	}
	if b := New(Config{Places: 1, Retry: 1}); b.cfg.Places != 1 || b.cfg.Retry != 1 {
		t.Errorf("%+v", b.cfg)
	}
	err := &ErrHung{Key: "/mnt/a", Since: time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)}
	if want := "/mnt/a has not answered since 2024-01-02T03:04:05Z; check its disk, mount or host"; err.Error() != want {
		t.Errorf("%s", err)
	}
}

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
