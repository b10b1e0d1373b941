package deals

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"quarry/api"
)

// A complete deal's sector is followed to its rest also by a process that has
// just started and has seen no head.
func TestSettledBeforeTheFirstHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.headless = true
		w.rests = api.SectorFinalizeSector
		ds := memory()
		p := w.open(ds)
		stop := w.run(p)
		id := w.deal(p)
		w.untilComplete(p, id)
		stop()
		w.mu.Lock()
		w.rests = api.SectorProving
		w.mu.Unlock()
		p = w.open(ds)
		defer w.run(p)()
		synctest.Wait()
		require.Equal(t, api.SectorProving, w.get(p, id).SealingState, "at once: it was not asked for yet")
	})
}
