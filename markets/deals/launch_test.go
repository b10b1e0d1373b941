package deals

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/ipfs/go-datastore"
	"github.com/stretchr/testify/require"

	"quarry/markets/publish"
)

// hooked is a datastore that tells of each write after it.
type hooked struct {
	datastore.Batching
	wrote func(v []byte)
}

func (h *hooked) Put(ctx context.Context, k datastore.Key, v []byte) error {
	err := h.Batching.Put(ctx, k, v)
	h.wrote(v)
	return err
}

// A retry that comes while the execution of the deal is ending is not lost: the
// deal runs once more. When the process ends, or nobody asked, it does not.
func TestRetryWhileAnExecutionEnds(t *testing.T) {
	for name, c := range map[string]struct{ retry, stop, again bool }{
		"asked for":              {true, false, true},
		"not asked for":          {false, false, false},
		"asked for, and stopped": {true, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.fail["Publish"] = []error{&publish.RefusedError{Reason: "exit code 16"}}
			ds := &hooked{Batching: memory(), wrote: func([]byte) {}}
			p := w.open(ds)
			id := w.deal(p)
			<-p.started
			ending := make(chan struct{})
			ds.wrote = func(v []byte) {
				if strings.Contains(string(v), `"Retry":"manual"`) {
					p.mu.Lock() // the execution cannot be taken off the list
					close(ending)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var wg sync.WaitGroup
			p.launch(ctx, &wg, id)
			<-ending
			if c.retry {
				require.NoError(t, p.Retry(ctx, id)) // waits for the write above
				<-p.started                          // and finds the deal running
			}
			if c.stop {
				cancel()
			}
			p.mu.Unlock()
			wg.Wait()
			require.Equal(t, c.again, len(p.started) == 1)
		})
	}
}
