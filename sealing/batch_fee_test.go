package sealing

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/ipfs/go-cid"

	"quarry/api"
)

// counted notes for how many sectors a sender was asked for, and what it sent.
type counted struct {
	Messages
	mu   *sync.Mutex
	sent *[]int
	n    int
}

func (c counted) Send(ctx context.Context, key string, m *api.Message) (cid.Cid, error) {
	c.mu.Lock()
	*c.sent = append(*c.sent, c.n)
	c.mu.Unlock()
	return c.Messages.Send(ctx, key, m)
}

// A message of several sectors goes out under the fee limit for as many; that of
// a single sector does not.
func TestBatchesAreSentUnderTheirOwnLimit(t *testing.T) {
	w := newWorld()
	var mu sync.Mutex
	var pre, com []int
	deps := Deps{
		Store:   memStore(),
		Chain:   w,
		Storage: w,
		Heads:   w,
		Msgs:    w,
	}
	deps.BatchMsgs = func(n int) Messages { return counted{w, &mu, &pre, n} }
	deps.CommitBatchMsgs = func(n int) Messages { return counted{w, &mu, &com, n} }
	s, err := New(batchConfig(3), deps)
	if err != nil {
		t.Fatal(err)
	}
	start(t, s)
	for _, n := range pledge(t, s, 3) {
		untilState(t, s, n, api.SectorProving)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(pre, []int{3}) || !slices.Equal(com, []int{3}) {
		t.Errorf("pre-commitments went out for %v sectors, commitments for %v; want 3 once", pre, com)
	}
}

func TestSingleSectorsAreNotSentAsBatches(t *testing.T) {
	w := newWorld()
	deps := Deps{
		Store:   memStore(),
		Chain:   w,
		Storage: w,
		Heads:   w,
		Msgs:    w,
	}
	deps.BatchMsgs = func(n int) Messages { t.Errorf("asked for a batch of %d", n); return w }
	deps.CommitBatchMsgs = deps.BatchMsgs
	s, err := New(batchConfig(1), deps)
	if err != nil {
		t.Fatal(err)
	}
	start(t, s)
	for _, n := range pledge(t, s, 2) {
		untilState(t, s, n, api.SectorProving)
	}
}
