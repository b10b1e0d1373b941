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

	"github.com/stretchr/testify/require"

	"quarry/api"
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
						w.fail[call] = []error{e, e}
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
		{"the client's server says no", "Fetch", &transfer.FatalError{Err: errors.New("server answered 404")}, api.DealRetryFatal, api.FaultCaller, "404"},
		{"the client's server is away", "Fetch", errors.New("connection refused"), api.DealRetryAuto, api.FaultCaller, "refused"},
		{"our disk is full", "Fetch", &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, api.DealRetryAuto, api.FaultStore, "no space"},
		{"our disk is full, said without a path", "Fetch", fmt.Errorf("x: %w", syscall.EDQUOT), api.DealRetryAuto, api.FaultStore, "quota"},
		{"the market actor refuses the deal", "Publish", &publish.RefusedError{Reason: "exit code 16"}, api.DealRetryManual, api.FaultCaller, "16"},
		{"it was dropped at publication", "Confirm", &publish.DroppedError{Reason: "invalid at publication"}, api.DealRetryFatal, api.FaultCaller, "invalid"},
		{"sealing has the wrong token", "SectorAddPiece", &api.ErrPermission{Method: "x"}, api.DealRetryAuto, api.FaultOperator, "permission"},
		{"sealing is away", "SectorAddPiece", &api.ErrUnreachable{Peer: "sealing"}, api.DealRetryAuto, api.FaultNetwork, "unreachable"},
		{"sealing does not take the request", "SectorAddPiece", &api.ErrInvalid{What: "piece"}, api.DealRetryAuto, api.FaultStore, "piece"},
		{"sealing has an I/O error", "SectorAddPiece", &api.ErrBusy{What: "piece", Reason: "sync directory"}, api.DealRetryAuto, api.FaultNetwork, "sync directory"},
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
