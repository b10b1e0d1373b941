package deals

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/internal/httpx"
	"quarry/markets/publish"
	"quarry/markets/transfer"
)

// No error that any part of ours can give ends a deal, or leaves it to the
// operator: it is tried again by itself and comes home.
func TestNoErrorOfOursEndsADeal(t *testing.T) {
	errs := map[string]error{
		"plain":    errors.New("sync directory: no such file"),
		"path":     &fs.PathError{Op: "open", Path: "/sectors", Err: syscall.EIO},
		"no space": fmt.Errorf("write: %w", syscall.ENOSPC),
		"canceled": context.Canceled,
		"timeout":  context.DeadlineExceeded,
	}
	for _, e := range api.ErrorTable() {
		errs[fmt.Sprintf("%T", e)] = e
		errs[fmt.Sprintf("wrapped %T", e)] = fmt.Errorf("sector 7: %w", e)
	}
	calls := []string{"ChainHead", "StateMarketStorageDeal", "Publish", "Confirm", "SectorAddPiece", "SectorPlacement", "SectorsStatus",
		"AddDeal", "Index", "ForgetSector", "Fetch"}
	for name, e := range errs {
		t.Run(name, func(t *testing.T) {
			for _, call := range calls {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.fail[call] = []error{nil, e, e, nil, e}
					p := w.open(memory())
					defer w.run(p)()
					id := w.deal(p)
					if call == "ForgetSector" {
						w.mu.Lock()
						w.fail[call] = []error{e, e}
						w.mu.Unlock()
						w.until(p, id, "is indexed", at(api.DealIndexed))
						w.lose(id.String(), gone("removed"))
					}
					rec := w.until(p, id, "comes home", func(r *Record) bool {
						require.Equal(t, api.DealRetryAuto, r.Retry, "%s fails with %v: %s", call, e, r.Err)
						return r.Final()
					})
					require.True(t, rec.Active, "%s fails with %v: %s", call, e, rec.Err)
					require.Empty(t, rec.Err)
				})
			}
		})
	}
}

// What the client did wrong is told from what we did.
func TestWhoseFaultItIs(t *testing.T) {
	rows := []struct {
		name  string
		call  string
		err   error
		retry api.DealRetry
		fault api.Fault
		text  string
	}{
		{"the client's server says no", "Fetch", &transfer.FatalError{Err: errors.New("server answered 404")}, api.DealRetryFatal,
			api.FaultCaller, "404"},
		{"the client's server is away", "Fetch", errors.New("connection refused"), api.DealRetryAuto, api.FaultCaller, "refused"},
		{"our disk is full", "Fetch", &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, api.DealRetryAuto, api.FaultStore,
			"no space"},
		{"our disk is full, said without a path", "Fetch", fmt.Errorf("x: %w", syscall.EDQUOT), api.DealRetryAuto, api.FaultStore, "quota"},
		{"our disk is full, as the reader says it", "Fetch", &httpx.Error{Fault: httpx.FaultLocal, Err: errors.New("write failed")},
			api.DealRetryAuto, api.FaultStore, "write failed"},
		{"the client's server is useless", "Fetch", &httpx.Error{Fault: httpx.FaultServer, Err: errors.New("answered 500")},
			api.DealRetryAuto, api.FaultCaller, "answered 500"},
		{"the market actor refuses the deal", "Publish", &publish.RefusedError{Reason: "exit code 16"}, api.DealRetryManual,
			api.FaultCaller, "16"},
		{"it was dropped at publication", "Confirm", &publish.DroppedError{Reason: "invalid at publication"}, api.DealRetryFatal,
			api.FaultCaller, "invalid"},
		{"sealing has the wrong token", "SectorAddPiece", &api.ErrPermission{Method: "x"}, api.DealRetryAuto, api.FaultOperator,
			"permission"},
		{"sealing is away", "SectorAddPiece", &api.ErrUnreachable{Peer: "sealing"}, api.DealRetryAuto, api.FaultNetwork, "unreachable"},
		{"sealing does not take the request", "SectorAddPiece", &api.ErrInvalid{What: "piece"}, api.DealRetryAuto, api.FaultStore, "piece"},
		{"sealing has an I/O error", "SectorAddPiece", &api.ErrBusy{What: "piece", Reason: "sync directory"}, api.DealRetryAuto,
			api.FaultNetwork, "sync directory"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.fail[row.call] = slices.Repeat([]error{row.err}, 1000)
				p := w.open(memory())
				defer w.run(p)()
				rec := w.until(p, w.deal(p), "has trouble", func(r *Record) bool { return r.Err != "" })
				require.Equal(t, row.retry, rec.Retry)
				require.Equal(t, row.fault, rec.Fault)
				require.Contains(t, rec.Err, row.text)
				require.Equal(t, row.retry == api.DealRetryFatal, rec.Final())
				require.Equal(t, row.retry != api.DealRetryFatal && row.call != "Fetch", w.staged(p, rec.UUID))
				info, err := rec.Info(false)
				require.NoError(t, err)
				require.Equal(t, row.fault, info.Fault)
				if row.retry == api.DealRetryAuto {
					w.mu.Lock()
					w.fail[row.call] = nil
					w.mu.Unlock()
					rec = w.untilComplete(p, rec.UUID)
					require.True(t, rec.Active)
					require.Empty(t, rec.Fault, "the trouble is over")
				}
			})
		})
	}
}

// A deal that runs out of time says through whom.
func TestLateThroughTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail["Fetch"] = slices.Repeat([]error{errors.New("connection refused")}, 100000)
		p := w.open(memory())
		defer w.run(p)()
		rec := w.untilComplete(p, w.deal(p))
		require.Equal(t, api.DealRetryFatal, rec.Retry)
		require.Equal(t, api.FaultCaller, rec.Fault)
		require.Contains(t, rec.Err, "cannot transfer deal with piece CID")
		require.Contains(t, rec.Err, "through the client, whose last trouble was: ")
		require.Contains(t, rec.Err, "connection refused")
	})
}

// What hangs is cut off at the epoch after which it is of no use, and not one
// earlier.
func TestCutOffInTime(t *testing.T) {
	const buffer = 10
	for _, row := range []struct {
		call  string
		end   abi.ChainEpoch // when the deal is over
		says  string
		fault api.Fault
	}{
		{"Fetch", dealStart - buffer + 1, "cannot transfer deal", api.FaultCaller},
		{"SectorAddPiece", dealStart + 1, "cannot seal deal", api.FaultStore},
	} {
		t.Run(row.call, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.buffer, w.hang = buffer, map[string]bool{row.call: true}
				p := w.open(memory())
				defer w.run(p)()
				id := w.deal(p)
				time.Sleep(time.Duration(row.end-head)*epoch - 1)
				synctest.Wait()
				require.False(t, w.get(p, id).Final(), w.get(p, id).Err)
				time.Sleep(3 * epoch) // the pause after an attempt that was cut off
				synctest.Wait()
				rec := w.get(p, id)
				require.True(t, rec.Final())
				require.Contains(t, rec.Err, row.says)
				require.Equal(t, row.fault, rec.Fault)
			})
		})
	}
}

// A deal that never got a place among the transfers is late through us.
func TestLateForWantOfAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.open(memory())
		for range cap(p.transfers) {
			p.transfers <- struct{}{}
		}
		defer w.run(p)()
		rec := w.untilComplete(p, w.deal(p))
		require.Equal(t, api.FaultStore, rec.Fault)
		require.Contains(t, rec.Err, "through the provider")
	})
}

// A deal that cannot be published before its buffer begins is over.
func TestNotPublishedInTime(t *testing.T) {
	for _, row := range []struct {
		until abi.ChainEpoch // when publishing works again
		ok    bool
	}{{dealStart - 200, true}, {dealStart - 100, false}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.buffer = 160
			w.fail["Publish"] = slices.Repeat([]error{&api.ErrUnreachable{}}, 10000)
			p := w.open(memory())
			defer w.run(p)()
			id := w.deal(p)
			time.AfterFunc(time.Duration(row.until-head)*epoch, func() {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.fail["Publish"] = nil
			})
			rec := w.untilComplete(p, id)
			require.Equal(t, row.ok, rec.Active, rec.Err)
			if !row.ok {
				require.Contains(t, rec.Err, "cannot publish deal")
				require.Contains(t, rec.Err, "unreachable")
			}
		})
	}
}
