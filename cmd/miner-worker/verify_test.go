package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"quarry/api"
)

// nobodys knows no token.
type nobodys struct{}

func (nobodys) Verify(context.Context, string) ([]api.Permission, error) {
	return nil, errors.New("unknown")
}

// slow is a private node that answers when it is told to.
type slow struct {
	now, most, all atomic.Int32
	answer         chan struct{}
}

func (s *slow) AuthVerify(context.Context, string) ([]api.Permission, error) {
	s.all.Add(1)
	n := s.now.Add(1)
	defer s.now.Add(-1)
	for {
		m := s.most.Load()
		if n <= m || s.most.CompareAndSwap(m, n) {
			break
		}
	}
	<-s.answer
	return nil, errors.New("unknown")
}

// Strangers cannot flood the private node through a worker: what is no token is
// not asked about, and the rest a few at a time.
func TestStrangersAskLittle(t *testing.T) {
	s := &slow{answer: make(chan struct{})}
	v := newVerifier(nobodys{}, s)
	for _, token := range []string{"", "x", "a.b", "a.b.c.d", "a.b." + strings.Repeat("c", maxToken)} {
		_, err := v.Verify(t.Context(), token)
		require.ErrorContains(t, err, "no token at all", "%.20s", token)
	}
	require.Zero(t, s.all.Load())
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			_, err := v.Verify(t.Context(), fmt.Sprintf("a.b.%d", i))
			require.Error(t, err)
		})
	}
	for range 40 {
		s.answer <- struct{}{}
	}
	wg.Wait()
	require.EqualValues(t, 40, s.all.Load())
	require.LessOrEqual(t, s.most.Load(), int32(maxAsking))
}
