package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var errBoom = errors.New("boom")

// A kept part that fails is started again after pauses that double from a second
// to a minute; nothing else ends, and what is known of it says when and why.
func TestKeptPartIsStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, began := New(time.Minute, nil), time.Now()
		var starts []time.Duration
		err := g.Keep(t.Context(), Keep{Name: "markets", Run: func(ctx context.Context, up func()) error {
			starts = append(starts, time.Since(began))
			if len(starts) == 10 {
				up()
				<-ctx.Done()
				return ctx.Err()
			}
			return fmt.Errorf("%w %d", errBoom, len(starts))
		}})
		if err != nil {
			t.Fatalf("a part that is no must ended the start: %v", err)
		}
		s := g.Status()[0]
		if s.Name != "markets" || s.Up || !errors.Is(s.Err, errBoom) || s.Restarts != 0 || !s.Next.Equal(began.Add(time.Second)) ||
			!s.Since.Equal(began) {
			t.Errorf("after the first failure: %+v", s)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		want := []time.Duration{0, 1, 3, 7, 15, 31, 63, 123, 183, 243}
		for i := range want {
			want[i] *= time.Second
		}
		if !slices.Equal(starts, want) {
			t.Errorf("started at %v", starts)
		}
		s = g.Status()[0]
		if !s.Up || s.Restarts != 9 || s.Err.Error() != "boom 9" || !s.Next.IsZero() || !s.Since.Equal(began.Add(243*time.Second)) {
			t.Errorf("when it is up: %+v", s)
		}
		select {
		case <-g.failed:
			t.Error("the process ends")
		default:
		}
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// One that worked for longer than five minutes begins with the first pause again,
// one that worked for just as long does not; an end without an error and a panic
// are failures like others.
func TestKeptPartThatWorked(t *testing.T) {
	for name, c := range map[string]struct {
		lives time.Duration
		end   func() error
		pause time.Duration // before the third start
		want  string
	}{
		"long":      {steady + 1, func() error { return errBoom }, firstPause, "boom"},
		"not so":    {steady, func() error { return errBoom }, 2 * firstPause, "boom"},
		"by itself": {0, func() error { return nil }, 2 * firstPause, "ended by itself"},
		"panic":     {0, func() error { panic("oh") }, 2 * firstPause, "panic: oh"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := New(time.Minute, nil)
				var ended, started time.Time
				n := 0
				err := g.Keep(t.Context(), Keep{Name: "x", Must: true, Run: func(ctx context.Context, up func()) error {
					up()
					if n++; n == 3 {
						started = time.Now()
						<-ctx.Done()
						return nil
					}
					time.Sleep(c.lives)
					ended = time.Now()
					return c.end()
				}})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if got := started.Sub(ended); got != c.pause {
					t.Errorf("paused for %v", got)
				}
				if s := g.Status()[0]; !strings.Contains(s.Err.Error(), c.want) {
					t.Errorf("%+v", s)
				}
				if err := g.Stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A must that never came up ends the start, and is not tried again.
func TestMustThatDoesNotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, n := New(time.Minute, nil), 0
		err := g.Keep(t.Context(), Keep{Name: "x", Must: true, Run: func(context.Context, func()) error { n++; return errBoom }})
		if !errors.Is(err, errBoom) || err.Error() != "x: boom" {
			t.Errorf("got %v", err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if s := g.Status()[0]; n != 1 || s.Up || !s.Next.IsZero() || s.Err == nil {
			t.Errorf("%d starts, %+v", n, s)
		}
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// Keep does not wait for ever for a part that neither works nor fails, what a life
// left under its context ends with it, and a stop does not wait for a pause.
func TestKeepLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(time.Minute, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := g.Keep(ctx, Keep{Name: "slow", Run: func(ctx context.Context, _ func()) error { <-ctx.Done(); return errBoom }})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		var inner context.Context
		if err := g.Keep(t.Context(), Keep{Name: "x", Run: func(ctx context.Context,
			_ func()) error {
			inner = ctx
			return errBoom
		}}); err != nil {
			t.Fatal(err)
		}
		if inner.Err() == nil {
			t.Error("what the part left behind goes on")
		}
		began := time.Now()
		if err := g.Stop(); err == nil || err.Error() != "slow: boom" {
			t.Errorf("stopped with %v", err)
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("stopping took %v", d)
		}
		if err := g.Keep(t.Context(), Keep{Name: "late"}); err == nil || !strings.Contains(err.Error(), "stopping") {
			t.Errorf("started after the stop: %v", err)
		}
	})
}

// What is known of a vital part says that it failed.
func TestStatusOfVitalPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(time.Minute, nil)
		if err := g.Go("storage", func(context.Context) error { time.Sleep(time.Second); return errBoom }); err != nil {
			t.Fatal(err)
		}
		if s := g.Status(); len(s) != 1 || !s[0].Up || s[0].Err != nil {
			t.Errorf("%+v", s)
		}
		if err := g.Wait(t.Context()); !errors.Is(err, errBoom) {
			t.Error(err)
		}
		if s := g.Status(); s[0].Up || !errors.Is(s[0].Err, errBoom) || s[0].Restarts != 0 {
			t.Errorf("%+v", s)
		}
		if g.Stop() == nil {
			t.Error("stop forgot the failure")
		}
	})
}
