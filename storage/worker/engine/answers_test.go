package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"quarry/api"
)

// TestDefiniteAnswersAreNotRepeated.
func TestDefiniteAnswersAreNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := New(t.Context(), Config{}, Deps{Node: newNode(time.Minute), Store: memStore(), Bulk: newBulk(),
			Work: func(context.Context, api.TaskStatus, *Claim) (json.RawMessage, error) { return nil, nil }})
		require.NoError(t, err)
		c := e.newClaim(t.Context(), task("t", api.TaskPreCommit1))
		for code, proto := range api.ErrorTable() {
			want := false
			switch proto.(type) {
			case *api.ErrInvalid, *api.ErrNotFound, *api.ErrLeaseLost, *api.ErrPieceMismatch, *api.ErrUnsupportedProof:
				want = true
			}
			require.Equal(t, want, definite(fmt.Errorf("call: %w", proto)), "code %d", code)
			if !want {
				continue
			}
			calls := 0
			require.ErrorIs(t, c.Ask(t.Context(), "x", func(context.Context) error { calls++; return proto }), proto)
			require.Equal(t, 1, calls)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		require.ErrorIs(t, c.Ask(ctx, "x", func(context.Context) error { return ways["busy"] }), context.DeadlineExceeded)
		require.Equal(t, time.Hour, time.Since(start))
		require.Equal(t, "prepare", c.status().Stage, "nothing waits any more")
	})
}

// TestRetryable decides for every error that crosses processes.
func TestRetryable(t *testing.T) {
	again := map[error]bool{
		&api.ErrActorNotFound{}:    false,
		&api.ErrNotServedHere{}:    true,
		&api.ErrNotFound{}:         true,
		&api.ErrInvalid{}:          false,
		&api.ErrBusy{}:             true,
		&api.ErrPieceMismatch{}:    false,
		&api.ErrUnreachable{}:      true,
		&api.ErrNoSpace{}:          true,
		&api.ErrLocked{}:           true,
		&api.ErrLeaseLost{}:        true,
		&api.ErrUnsupportedProof{}: false,
		&api.ErrPermission{}:       false,
		&api.ErrInUse{}:            true,
		&api.ErrGivenUp{}:          false,
		&api.ErrF3Disabled{}:       false,
	}
	require.Len(t, again, len(api.ErrorTable()), "an error is missing here")
	for err, want := range again {
		code, _ := api.Typed(err)
		f := failure(fmt.Errorf("task: %w", err))
		require.Equal(t, want, f.Retryable, "%T", err)
		require.Equal(t, code, f.Code)
		require.ErrorAs(t, f, &err)
	}
	for _, err := range []error{
		syscall.ENOSPC,
		syscall.EDQUOT,
		fmt.Errorf("read: %w", syscall.EIO),
		&fs.PathError{Op: "open", Err: errors.New("stale file handle")},
		context.DeadlineExceeded,
		context.Canceled,
	} {
		require.True(t, retryable(err), err)
	}
	require.False(t, retryable(errors.New("the proof does not verify")))
}

// TestLongFailuresAreCut, so that the report of them is taken.
func TestLongFailuresAreCut(t *testing.T) {
	f := failure(errors.New(strings.Repeat("x", maxText)))
	require.Len(t, f.Text, maxText)
	f = failure(errors.New(strings.Repeat("x", maxText+1)))
	require.Equal(t, strings.Repeat("x", maxText)+" ...", f.Text)
	big := &api.ErrBusy{What: strings.Repeat("y", maxDetail)}
	f = failure(big)
	require.Zero(t, f.Code)
	require.Nil(t, f.Detail)
	require.True(t, f.Retryable)
	const frame = len(`{"What":"","Reason":""}`)
	f = failure(&api.ErrBusy{What: strings.Repeat("y", maxDetail-frame)})
	require.Equal(t, 104, f.Code)
	require.Len(t, f.Detail, maxDetail)
}

// TestBulkOfOthersIsWaitedFor, and what no blob can be is refused at once.
func TestBulkOfOthersIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBulk()
		e, err := New(t.Context(), Config{}, Deps{Node: newNode(time.Minute), Store: memStore(), Bulk: b,
			Work: func(context.Context, api.TaskStatus, *Claim) (json.RawMessage, error) { return nil, nil }})
		require.NoError(t, err)
		c := e.newClaim(t.Context(), task("t", api.TaskCommit2))
		var invalid *api.ErrInvalid
		for _, size := range []int64{-1, api.MaxBlob + 1} {
			_, err = c.Open(t.Context(), api.BlobRef{CID: "x", Size: size})
			require.ErrorAs(t, err, &invalid)
		}
		require.Empty(t, c.bulk(true))
		b.err = ways["unreachable"]
		var stage atomic.Value
		go func() {
			time.Sleep(time.Minute)
			stage.Store(c.status().Stage)
			b.mu.Lock()
			defer b.mu.Unlock()
			b.err, b.kept["x"] = nil, "proof"
		}()
		r, err := c.Open(t.Context(), api.BlobRef{CID: "x", Size: api.MaxBlob})
		require.NoError(t, err)
		raw, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, "proof", string(raw))
		require.Equal(t, WaitsForNode, stage.Load())
		require.Equal(t, "prepare", c.status().Stage)
		require.Equal(t, []api.BlobRef{{CID: "x", Size: api.MaxBlob}}, c.bulk(true))
		require.Empty(t, c.bulk(false))

		b.err = &api.ErrNotFound{What: "blob"}
		_, err = c.Open(t.Context(), api.BlobRef{CID: "y"})
		require.ErrorIs(t, err, b.err)
		b.err = ways["busy"]
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = c.Open(ctx, api.BlobRef{CID: "z"})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}
