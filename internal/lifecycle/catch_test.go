package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// told is a Catcher and what it writes.
func told() (*Catcher, *bytes.Buffer) {
	var buf bytes.Buffer
	return NewCatcher(slog.New(slog.NewTextHandler(&buf, nil))), &buf
}

// A panic is an error that says where, and its stack is told once for each place.
func TestPanicIsAnError(t *testing.T) {
	c, log := told()
	fall := func(what string) error { return c.Do(what, func() error { panic("oh") }) }
	for range 3 {
		err := fall("deal 7")
		var caught *PanicError
		if !errors.As(err, &caught) || caught.What != "deal 7" || caught.Value != "oh" {
			t.Fatalf("got %#v", err)
		}
		if want := "internal error in deal 7 (a bug; the log has the details): oh"; err.Error() != want {
			t.Errorf("it says %q", err)
		}
	}
	if err := fall("deal 8"); err == nil {
		t.Error("no error")
	}
	if lines, stacks := strings.Count(log.String(), "panic caught"), strings.Count(log.String(), "stack="); lines != 4 || stacks != 2 {
		t.Errorf("%d lines and %d stacks:\n%s", lines, stacks, log)
	}
	if !strings.Contains(log.String(), "TestPanicIsAnError") {
		t.Error("the stack does not show where it was")
	}
	if err := c.Do("x", func() error { return errBoom }); !errors.Is(err, errBoom) {
		t.Errorf("an error became %v", err)
	}
	if err := c.Do("x", func() error { return nil }); err != nil {
		t.Errorf("success became %v", err)
	}
	if err := NewCatcher(nil).Do("x", func() error { panic(1) }); err == nil {
		t.Error("without a log nothing is caught")
	}
}

// What was told is remembered of a bounded number of places.
func TestPlacesAreBounded(t *testing.T) {
	c, _ := told()
	for i := range maxTold {
		if !c.first(fmt.Sprint(i)) {
			t.Fatalf("place %d is new", i)
		}
	}
	if c.first("0") || len(c.told) != maxTold {
		t.Error("forgotten too early")
	}
	if !c.first("new") || len(c.told) != 1 || !c.first("0") {
		t.Errorf("%d places are kept", len(c.told))
	}
}

// A loop that panics or fails is begun again with growing pauses, until it ends
// well or is told to; its context ends with each life.
func TestLoopIsBegunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, log := told()
		var at []time.Duration
		began := time.Now()
		var last context.Context
		c.Again(t.Context(), "blocks", func(ctx context.Context) error {
			if last != nil && last.Err() == nil {
				t.Error("the life before was not told to end")
			}
			last = ctx
			at = append(at, time.Since(began))
			switch len(at) {
			case 1, 2, 3:
				panic("oh")
			case 4:
				time.Sleep(steady + 1)
				return errBoom
			case 5:
				time.Sleep(steady)
				return errBoom
			}
			return nil
		})
		const s = time.Second
		end := 7*s + steady + 1
		want := []time.Duration{0, 1 * s, 3 * s, 7 * s, end + s, end + s + steady + 2*s}
		if fmt.Sprint(at) != fmt.Sprint(want) {
			t.Errorf("begun at %v, not %v", at, want)
		}
		if n := strings.Count(log.String(), "boom"); n != 2 {
			t.Errorf("the errors are told %d times", n)
		}
	})
}

func TestLoopEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := told()
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		go c.Again(ctx, "x", func(context.Context) error { n++; return errBoom })
		time.Sleep(100 * time.Hour)
		synctest.Wait()
		before := n
		time.Sleep(10 * lastPause)
		synctest.Wait()
		if n-before != 10 {
			t.Errorf("%d lives in ten of the longest pauses", n-before)
		}
		cancel()
		synctest.Wait()
		c.Again(ctx, "x", func(context.Context) error { t.Error("begun after the end"); return nil })
	})
}
