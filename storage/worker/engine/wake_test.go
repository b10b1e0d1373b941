package engine

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"quarry/api"
)

// After an outage an answer to any call wakes those that wait for their own next
// try: what was computed is published and delivered within seconds, not after the
// longest pause.
func TestAnAnswerWakesThoseThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(15*time.Minute, task("waits", api.TaskPreCommit1), task("works", api.TaskPreCommit1))
		var published time.Time
		w := run(t, Config{}, n, memStore(), newBulk(), func(ctx context.Context, st api.TaskStatus, c *Claim) (json.RawMessage, error) {
			if st.Spec.Key == "works" {
				<-ctx.Done() // and reports how far it is
				return nil, ctx.Err()
			}
			sleep(ctx, 10*time.Second)
			err := c.Confirm(ctx)
			published = time.Now()
			return someResult, err
		})
		time.Sleep(9 * time.Second)
		n.set(ways["unreachable"])
		// Tries at 10, 12, 16, 24, 40 and 70 s; the node is back just after the last.
		time.Sleep(32 * time.Second)
		n.set(nil)
		back := time.Now()
		time.Sleep(time.Minute)
		require.NoError(t, w.halt())
		require.Less(t, published.Sub(back), 5*time.Second+2*time.Second, "a report of the other task was heard")
		require.Len(t, n.snapshot().reports, 1)
	})
}

// A call that alone fails is repeated with its own, growing pauses, however many
// others are answered.
func TestACallThatAloneFailsIsNotHurried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(15*time.Minute, task("t", api.TaskPreCommit1))
		var tries []time.Duration
		begun := time.Now()
		w := run(t, Config{Progress: 100 * time.Millisecond}, n, memStore(), newBulk(),
			func(ctx context.Context, _ api.TaskStatus, c *Claim) (json.RawMessage, error) {
				err := c.Ask(ctx, "something", func(context.Context) error {
					tries = append(tries, time.Since(begun))
					return errors.New("disk full")
				})
				return nil, err
			})
		time.Sleep(21 * time.Second)
		synctest.Wait()
		require.Equal(t, []time.Duration{0, 2 * time.Second, 6 * time.Second, 14 * time.Second}, tries)
		require.NoError(t, w.halt())
	})
}

// Two calls that fail for reasons of their own and now and then succeed do not make
// each other repeat faster than Config.Retry says.
func TestCallsDoNotHurryEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := New(t.Context(), Config{}, Deps{Node: newNode(time.Minute), Store: memStore(), Bulk: newBulk(), Work: proving})
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		go func() {
			for ctx.Err() == nil {
				sleep(ctx, 10*time.Millisecond)
				e.hear()
			}
		}()
		start := time.Now()
		e.rest(t.Context(), time.Minute)
		require.GreaterOrEqual(t, time.Since(start), 2*time.Second)
		require.Less(t, time.Since(start), 3*time.Second)
		start = time.Now()
		e.rest(t.Context(), time.Second)
		require.Equal(t, time.Second, time.Since(start))
		stop()
		synctest.Wait()
		start = time.Now()
		e.rest(t.Context(), time.Minute)
		require.Equal(t, time.Minute, time.Since(start), "what was heard before counts no more")
	})
}
