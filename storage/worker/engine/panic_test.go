package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"quarry/api"
)

// A panic while a result is delivered ends neither the worker nor what was
// computed: the result is on the disk and is delivered by the next run.
func TestPanicInADelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(15*time.Minute, task("bad", api.TaskCommit1), task("good", api.TaskCommit1))
		n.refuse = func(r api.TaskReport) error {
			if n.claims[r.Task].task.Spec.Key == "bad" {
				panic("index out of range")
			}
			return nil
		}
		store := memStore()
		w := run(t, Config{}, n, store, newBulk(), proving)
		time.Sleep(time.Minute)
		require.Len(t, n.snapshot().reports, 1)
		require.Equal(t, 1, w.log.count("panic caught"))
		require.Empty(t, w.Tasks(), "it is held no more, so that the node hears of it at the next claim")
		require.NoError(t, w.halt())
		require.Len(t, outcomes(t, store), 1)
		n.mu.Lock()
		n.refuse = nil
		n.mu.Unlock()
		w = run(t, Config{}, n, store, newBulk(), proving)
		time.Sleep(time.Minute)
		require.Len(t, n.snapshot().reports, 2)
		require.NoError(t, w.halt())
	})
}
