package lifecycle

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStopsInReverse(t *testing.T) {
	g := New(time.Minute, nil)
	var mu sync.Mutex
	var ended []string
	for _, n := range []string{"storage", "sealing", "markets"} {
		err := g.Go(n, func(ctx context.Context) error {
			<-ctx.Done()
			mu.Lock()
			defer mu.Unlock()
			ended = append(ended, n)
			return ctx.Err()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := g.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"markets", "sealing", "storage"}; !slices.Equal(ended, want) {
		t.Fatalf("ended in order %v", ended)
	}
	if g.Go("late", func(context.Context) error { return nil }) == nil {
		t.Fatal("started a part after stop")
	}
}

func TestWaitReportsFailure(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		run  func(context.Context) error
		want string
	}{
		"error":      {func(context.Context) error { return boom }, "x: boom"},
		"panic":      {func(context.Context) error { panic("oh") }, "panic: oh"},
		"ends early": {func(context.Context) error { return nil }, "ended by itself"},
	} {
		t.Run(name, func(t *testing.T) {
			g := New(time.Minute, nil)
			if err := g.Go("x", c.run); err != nil {
				t.Fatal(err)
			}
			err := g.Wait(context.Background())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v", err)
			}
			if g.Stop() == nil {
				t.Fatal("stop forgot the failure")
			}
		})
	}
}

func TestWaitEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := New(0, nil).Wait(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestStopNamesTheStubborn(t *testing.T) {
	release := make(chan struct{})
	g := New(time.Millisecond, nil)
	if err := g.Go("stubborn", func(context.Context) error { <-release; return nil }); err != nil {
		t.Fatal(err)
	}
	err := g.Stop()
	close(release)
	if err == nil || !strings.Contains(err.Error(), "stubborn did not stop") {
		t.Fatalf("got %v", err)
	}
}
