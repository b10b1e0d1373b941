package deals

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/google/uuid"
	"github.com/ipfs/go-datastore"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/internal/filcrypto"
	"quarry/markets/publish"
	"quarry/markets/wire"
)

// A deal that waits for the operator goes on when told to; what is over or
// unknown is refused.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail["Publish"] = []error{&publish.RefusedError{Reason: "exit code 16"}}
		p := w.open(memory())
		defer w.run(p)()
		id := w.deal(p)
		w.until(p, id, "waits", func(r *Record) bool { return r.Retry == api.DealRetryManual })
		time.Sleep(1000 * time.Second)
		require.Equal(t, 1, w.calls["Publish"], "nobody asked for it")
		require.NoError(t, p.Retry(t.Context(), id))
		rec := w.untilComplete(p, id)
		require.True(t, rec.Active)
		require.True(t, slices.ContainsFunc(rec.Log, func(l api.DealLogEntry) bool { return l.Message == "retry asked for" }))
		var invalid *api.ErrInvalid
		require.ErrorAs(t, p.Retry(t.Context(), id), &invalid)
		var missing *api.ErrNotFound
		require.ErrorAs(t, p.Retry(t.Context(), uuid.New()), &missing)
	})
}

// A retry whose record cannot be written changes nothing.
func TestRetryNeedsTheDisk(t *testing.T) {
	f := good(t)
	f.sign(t)
	ds := &dying{Batching: memory(), left: 1}
	p := f.provider(t, ds)
	require.True(t, p.Propose(context.Background(), &f.params, "peer").Accepted)
	require.ErrorIs(t, p.Retry(context.Background(), f.params.DealUUID), errDead)
	require.Len(t, p.started, 1, "only the proposal started it")
}

// Only the deal's own client learns how it stands.
func TestStatus(t *testing.T) {
	f := good(t)
	f.sign(t)
	p := f.provider(t, memory())
	require.True(t, p.Propose(context.Background(), &f.params, "peer").Accepted)
	id := f.params.DealUUID
	_, err := p.deps.Store.Update(context.Background(), id, func(r *Record) {
		r.Err, r.Received, r.PublishCid, r.ChainDealID, r.SealingState = "slow", 17, &rootCid, 9, api.SectorPreCommit1
	})
	require.NoError(t, err)
	sign := func(key []byte, id api.UUID) wire.DealStatusRequest {
		sig, err := filcrypto.Sign(crypto.SigTypeSecp256k1, key, id[:])
		require.NoError(t, err)
		return wire.DealStatusRequest{DealUUID: id, Signature: *sig}
	}
	ask := sign(f.private, id)
	got := p.Status(context.Background(), &ask)
	require.Empty(t, got.Error)
	require.Equal(t, id, got.DealUUID)
	require.Equal(t, []uint64{1000, 17}, []uint64{got.TransferSize, got.NBytesReceived})
	require.Equal(t, "Accepted", got.DealStatus.Status)
	require.Equal(t, "PreCommit1", got.DealStatus.SealingStatus)
	require.Equal(t, "slow", got.DealStatus.Error)
	require.Equal(t, rootCid, *got.DealStatus.PublishCid)
	require.EqualValues(t, 9, got.DealStatus.ChainDealID)
	require.Equal(t, f.prop().PieceCID, got.DealStatus.Proposal.PieceCID)

	stranger := good(t)
	for want, req := range map[string]wire.DealStatusRequest{
		"signature verification failed":              sign(stranger.private, id),
		"no storage deal found with deal UUID 00000": sign(f.private, api.UUID{}),
	} {
		got := p.Status(context.Background(), &req)
		require.Contains(t, got.Error, want)
		require.Nil(t, got.DealStatus)
	}
	f.chain.fail = "key"
	require.Contains(t, p.Status(context.Background(), &ask).Error, "failed to get account key for client addr "+f.prop().Client.String())
	f.chain.fail = ""
	_, err = p.deps.Store.Update(context.Background(), id, func(r *Record) { r.SignedProposal = []byte{1} })
	require.NoError(t, err)
	require.Equal(t, "failed to fetch deal status", p.Status(context.Background(), &ask).Error)
}

// What a crash left of deals that are over is swept away, of others it stays,
// and what is not ours is not touched.
func TestSweep(t *testing.T) {
	f := good(t)
	all := offered(t, f, 2)
	p := f.provider(t, memory())
	for i := range all {
		require.True(t, p.Propose(context.Background(), &all[i].params, "peer").Accepted)
		require.NoError(t, os.WriteFile(p.StagedPath(all[i].params.DealUUID), []byte("x"), 0o600))
	}
	over, live := all[0].params.DealUUID, all[1].params.DealUUID
	_, err := p.deps.Store.Update(context.Background(), over, func(r *Record) { r.Checkpoint = api.DealComplete })
	require.NoError(t, err)
	foreign := []string{"notes.payload", uuid.NewString() + stagedSuffix, over.String() + ".bak"}
	for _, name := range foreign {
		require.NoError(t, os.WriteFile(filepath.Join(p.cfg.StagingDir, name), nil, 0o600))
	}
	p.sweep()
	require.NoFileExists(t, p.StagedPath(over))
	require.FileExists(t, p.StagedPath(live))
	for _, name := range foreign {
		require.FileExists(t, filepath.Join(p.cfg.StagingDir, name))
	}
	require.NoError(t, os.RemoveAll(p.cfg.StagingDir))
	p.sweep() // a directory that cannot be read is no reason to stop
}

// A complete deal follows its sector to its end, also over a restart and a
// sealing side that is away, and then rests.
func TestCompleteDealFollowsItsSector(t *testing.T) {
	for _, end := range []api.SectorState{api.SectorProving, api.SectorFailedForGood, api.SectorRemoved} {
		synctest.Test(t, func(t *testing.T) {
			w, ds := newWorld(t), memory()
			w.rests = api.SectorFinalizeSector
			p := w.open(ds)
			stop := w.run(p)
			id := w.deal(p)
			w.untilComplete(p, id)
			w.until(p, id, "shows its sector", func(r *Record) bool { return r.SealingState == api.SectorFinalizeSector })
			stop()
			w.fail["SectorsStatus"] = slices.Repeat([]error{errors.New("away")}, 5)
			p = w.open(ds)
			defer w.run(p)()
			time.Sleep(40 * epoch)
			w.mu.Lock()
			w.rests = end
			asked := w.calls["SectorsStatus"]
			w.mu.Unlock()
			w.until(p, id, "has settled", func(r *Record) bool { return r.SealingState == end })
			time.Sleep(100 * epoch)
			w.mu.Lock()
			defer w.mu.Unlock()
			require.LessOrEqual(t, w.calls["SectorsStatus"], asked+2, "it is not asked about for ever")
		})
	}
}

func TestUnsettled(t *testing.T) {
	place := &api.PiecePlacement{}
	for _, row := range []struct {
		rec  Record
		want bool
	}{
		{Record{Checkpoint: api.DealComplete, Active: true, Placement: place, SealingState: api.SectorFinalizeSector}, true},
		{Record{Checkpoint: api.DealComplete, Active: true, Placement: place}, true},
		{Record{Checkpoint: api.DealIndexed, Active: true, Placement: place}, false},
		{Record{Checkpoint: api.DealComplete, Placement: place}, false},
		{Record{Checkpoint: api.DealComplete, Active: true}, false},
		{Record{Checkpoint: api.DealComplete, Active: true, Placement: place, SealingState: api.SectorProving}, false},
	} {
		require.Equal(t, row.want, unsettled(&row.rec), "%+v", row.rec)
	}
}

// A step that panics is a trouble of ours: seen, and tried again.
func TestPanicOfAStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := true
		w.onAdd = func(api.AddPieceRequest) error {
			if first {
				first = false
				panic("oops")
			}
			return nil
		}
		p := w.open(memory())
		defer w.run(p)()
		rec := w.untilComplete(p, w.deal(p))
		require.True(t, rec.Active)
		require.True(t, slices.ContainsFunc(rec.Log, func(l api.DealLogEntry) bool {
			return strings.Contains(l.Message, "hand-off to sealing failed (auto): internal error in the hand-off to sealing of deal ") &&
				strings.Contains(l.Message, "oops")
		}))
	})
}

// Records that this version cannot read on stay as they are.
func TestRecordOfAnotherVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.open(memory())
		id := w.deal(p)
		change := func(f func(r *Record)) *Record {
			rec, err := p.deps.Store.Update(context.Background(), id, f)
			require.NoError(t, err)
			return rec
		}
		err := p.step(t.Context(), change(func(r *Record) { r.Checkpoint = "Later" }))
		require.ErrorContains(t, err, `checkpoint "Later" is not known`)
		require.Equal(t, api.DealRetryAuto, classOf(err))
		err = p.step(t.Context(), change(func(r *Record) { r.SignedProposal = nil }))
		require.ErrorContains(t, err, "stored proposal of deal "+id.String())
		require.Equal(t, api.DealRetryAuto, classOf(err))
		_, err = w.get(p, id).Info(false)
		require.Error(t, err)
		page, err := p.deps.Store.Page(api.DealQuery{})
		require.NoError(t, err, "it does not hide the others")
		require.Len(t, page.Deals, 1)
		require.Contains(t, page.Deals[0].Err, "stored proposal of deal "+id.String())
		require.Equal(t, api.FaultStore, page.Deals[0].Fault)
	})
}

func TestOnChain(t *testing.T) {
	for want, recs := range map[bool][]Record{
		true: {{Checkpoint: api.DealPublishConfirmed}, {Checkpoint: api.DealAddedPiece}, {Checkpoint: api.DealIndexed},
			{Checkpoint: api.DealComplete, Confirmed: true}, {Checkpoint: api.DealComplete, Active: true}},
		false: {{Checkpoint: api.DealAccepted}, {Checkpoint: api.DealTransferred}, {Checkpoint: api.DealPublished},
			{Checkpoint: api.DealComplete}},
	} {
		for _, r := range recs {
			require.Equal(t, want, r.onChain(), "%+v", r)
		}
	}
}

// Transfers and commitments are limited, and who waits for a place is let go.
func TestLimits(t *testing.T) {
	p, err := New(Config{StagingDir: t.TempDir()}, Deps{})
	require.NoError(t, err)
	require.Equal(t, 20, cap(p.transfers))
	require.Equal(t, 1, cap(p.commps))
	require.EqualValues(t, 4, p.cfg.PollEpochs)
	require.Equal(t, []time.Duration{time.Second, time.Minute}, []time.Duration{p.cfg.RetryMin, p.cfg.RetryMax})
	q, err := New(Config{
		StagingDir: t.TempDir(),
		Transfers:  2,
		CommP:      3,
		PollEpochs: 5,
		RetryMin:   6,
		RetryMax:   7,
	}, Deps{})
	require.NoError(t, err)
	require.Equal(t, []int{2, 3}, []int{cap(q.transfers), cap(q.commps)})
	require.EqualValues(t, 5, q.cfg.PollEpochs)
	require.EqualValues(t, 13, q.cfg.RetryMin+q.cfg.RetryMax)
	require.NoError(t, acquire(t.Context(), p.commps))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, acquire(ctx, p.commps), context.Canceled)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = New(Config{StagingDir: file}, Deps{})
	require.ErrorContains(t, err, "make staging directory")
}

// The store refuses what it cannot read, and a cursor that is none.
func TestStoreRefusals(t *testing.T) {
	ds := memory()
	f := good(t)
	f.sign(t)
	p := f.provider(t, ds)
	require.True(t, p.Propose(context.Background(), &f.params, "peer").Accepted)
	var invalid *api.ErrInvalid
	for _, cursor := range []string{"x", uuid.New().String()} {
		_, err := p.deps.Store.Page(api.DealQuery{Cursor: cursor})
		require.ErrorAs(t, err, &invalid)
		require.Equal(t, "deal list cursor", invalid.What)
	}
	var missing *api.ErrNotFound
	_, err := p.deps.Store.Get(uuid.New())
	require.ErrorAs(t, err, &missing)
	_, err = p.deps.Store.Update(context.Background(), uuid.New(), func(*Record) {})
	require.ErrorAs(t, err, &missing)
	p.deps.Store.progress(f.params.DealUUID, 5)
	rec, err := p.deps.Store.Get(f.params.DealUUID)
	require.NoError(t, err)
	require.EqualValues(t, 5, rec.Received)
	require.NoError(t, ds.Put(context.Background(), datastore.NewKey("/deal/7"), []byte("{}")))
	_, err = OpenStore(context.Background(), ds)
	require.ErrorContains(t, err, "stored deal /deal/7 has no UUID")
}
