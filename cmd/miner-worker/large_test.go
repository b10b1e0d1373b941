package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/api/client"
	"quarry/proofs/commp"
	"quarry/storage/blobs"
	"quarry/storage/blobs/blobstest"
	"quarry/storage/worker/engine"
)

// line is a connection to a private node that can be cut.
type line struct {
	*httptest.Server
	cut  atomic.Bool
	puts atomic.Int32 // of bulk results
}

func newLine(t *testing.T, p *private) *line {
	t.Helper()
	to := &url.URL{Scheme: "http", Host: p.addr}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.Transport = &http.Transport{DisableKeepAlives: true}
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	l := &line{}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.cut.Load() {
			panic(http.ErrAbortHandler)
		}
		if r.Method == http.MethodPut {
			l.puts.Add(1)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(l.Close)
	return l
}

// remote is a worker that is connected by nothing but HTTP and does what the test
// says instead of proofs.
func (p *private) remote(t *testing.T, base, dir string, store datastore.Batching, types []api.TaskType, work engine.Work) *engine.Engine {
	t.Helper()
	token := p.newToken(t, api.RoleWorker)
	m, err := client.Miner(t.Context(), client.Config{Info: token + ":" + base})
	require.NoError(t, err)
	t.Cleanup(m.Close)
	node, err := blobs.NewClient(blobs.ClientDeps{Base: base, Token: func() string { return token }})
	require.NoError(t, err)
	t.Cleanup(node.Close)
	own, err := blobs.Open(blobs.Config{Dir: dir})
	require.NoError(t, err)
	return newEngine(t, m, store, blobs.NewMirror(own, node), types, work)
}

func newEngine(t *testing.T, n engine.Node, store datastore.Batching, bulk engine.Bulk, types []api.TaskType,
	work engine.Work) *engine.Engine {
	t.Helper()
	e, err := engine.New(t.Context(), engine.Config{TaskTypes: types, Retry: 10 * time.Millisecond, RetryMax: 50 * time.Millisecond,
		Progress: 50 * time.Millisecond},
		engine.Deps{
			Node:  n,
			Work:  work,
			Store: store,
			Bulk:  bulk,
			Paths: func() []api.StorageID { return []api.StorageID{"far"} },
		})
	require.NoError(t, err)
	return e
}

func memStore() datastore.Batching { return dssync.MutexWrap(datastore.NewMapDatastore()) }

// proveLarge makes what a 32 GiB sector makes of a vanilla proof.
func proveLarge(ctx context.Context, _ api.TaskStatus, c *engine.Claim) (json.RawMessage, error) {
	ref, err := c.Keep(ctx, bytes.NewReader(blobstest.Bytes(blobstest.VanillaSize)))
	if err != nil {
		return nil, err
	}
	return api.Commit1.Done(api.Commit1Result{Vanilla: ref})
}

// readLarge is the next task: it reads that proof by its name.
func readLarge(ctx context.Context, st api.TaskStatus, c *engine.Claim) (json.RawMessage, error) {
	a, err := api.Commit2.Params(st.Spec)
	if err != nil {
		return nil, err
	}
	r, err := c.Open(ctx, a.Vanilla)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // test
	b, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(b, blobstest.Bytes(blobstest.VanillaSize)) {
		return nil, &api.ErrInvalid{What: "vanilla proof", Reason: "it is another"}
	}
	return api.Commit2.Done(api.Commit2Result{Proof: make([]byte, 192)})
}

var largeRef = api.SectorRef{ID: abi.SectorID{Miner: 1000, Number: 3}, ProofType: abi.RegisteredSealProof_StackedDrg2KiBV1_1}

// submitC1 queues the proof of a sector, whose files count as being there.
func (p *private) submitC1(t *testing.T) {
	t.Helper()
	require.NoError(t, p.manager.StorageAttach(t.Context(), api.PathMeta{ID: "far", CanSeal: true, CanStore: true, Weight: 1}, "",
		api.FsStat{Capacity: 1 << 40, Available: 1 << 40}))
	for _, typ := range []api.FileType{api.FileSealed, api.FileCache} {
		require.NoError(t, p.manager.StorageDeclareSectors(t.Context(), []api.SectorFile{{Sector: largeRef.ID, Type: typ, Storage: "far"}}))
	}
	spec, err := api.Commit1.Spec("c1", largeRef, api.Commit1Params{Ticket: make([]byte, 32), Seed: make([]byte, 32),
		Commitments: api.SealCommitments{RawMessage: json.RawMessage("{}")}})
	require.NoError(t, err)
	_, err = p.manager.TaskSubmit(t.Context(), spec)
	require.NoError(t, err)
}

func (p *private) await(t *testing.T, spec api.TaskSpec) api.TaskStatus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	st, err := p.manager.TaskSubmit(ctx, spec)
	for err == nil && ctx.Err() == nil && !st.Final() {
		st, err = p.manager.TaskWait(ctx, st.ID)
	}
	require.NoError(t, err)
	return st
}

// spec is what was asked for by the first task.
func (p *private) spec(t *testing.T) api.TaskSpec {
	t.Helper()
	list, _, err := p.manager.TaskList(t.Context(), "", 1)
	require.NoError(t, err)
	st, err := p.manager.TaskGet(t.Context(), list[0].ID)
	require.NoError(t, err)
	return st.Spec
}

func (p *private) awaitC1(t *testing.T) api.Commit1Result {
	t.Helper()
	c1, err := api.Commit1.Result(p.await(t, p.spec(t)))
	require.NoError(t, err)
	require.Equal(t, blobstest.Ref(t, blobstest.Bytes(blobstest.VanillaSize)), c1.Vanilla)
	r, err := p.manager.BlobOpen(t.Context(), c1.Vanilla)
	require.NoError(t, err)
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.True(t, bytes.Equal(blobstest.Bytes(blobstest.VanillaSize), b))
	return c1
}

// TestProofOfA32GiBSectorIsDelivered to a node with its default limits: by a
// remote worker over HTTP, and by the built-in one; and another remote worker
// reads it.
func TestProofOfA32GiBSectorIsDelivered(t *testing.T) {
	c1 := []api.TaskType{api.TaskCommit1}
	for name, start := range map[string]func(t *testing.T, p *private) *engine.Engine{
		"over HTTP": func(t *testing.T, p *private) *engine.Engine {
			return p.remote(t, "http://"+p.addr, t.TempDir(), memStore(), c1, proveLarge)
		},
		"in process": func(t *testing.T, p *private) *engine.Engine {
			return newEngine(t, p.manager, memStore(), blobs.NewMirror(p.blobs, nil), c1, proveLarge)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPrivate(t)
			p.submitC1(t)
			background(t, start(t, p).Run)
			got := p.awaitC1(t)
			background(t, p.remote(t, "http://"+p.addr, t.TempDir(), memStore(), []api.TaskType{api.TaskCommit2}, readLarge).Run)
			params := api.Commit2Params{Vanilla: got.Vanilla, Info: proof.SealVerifyInfo{
				SealProof:   largeRef.ProofType,
				SectorID:    largeRef.ID,
				SealedCID:   commp.ZeroPiece(2048),
				UnsealedCID: commp.ZeroPiece(2048),
			}}
			spec, err := api.Commit2.Spec("c2", largeRef, params)
			require.NoError(t, err)
			st := p.await(t, spec)
			require.Equal(t, api.TaskDone, st.State, "%v", st.Failure)
		})
	}
}

// TestProofOutlivesTheLineAndTheWorker: the line is cut before the delivery, the
// worker is stopped, and the next one sends what lies on its disk; nothing is
// proved again, and what the node has is not sent again.
func TestProofOutlivesTheLineAndTheWorker(t *testing.T) {
	p := newPrivate(t)
	p.submitC1(t)
	l, dir, store := newLine(t, p), t.TempDir(), memStore()
	proved := make(chan struct{})
	var begun atomic.Int32
	stop := background(t, p.remote(t, l.URL, dir, store, []api.TaskType{api.TaskCommit1},
		func(ctx context.Context, st api.TaskStatus, c *engine.Claim) (json.RawMessage, error) {
			begun.Add(1)
			l.cut.Store(true)
			defer close(proved)
			return proveLarge(ctx, st, c)
		}).Run)
	<-proved
	require.Eventually(t, func() bool {
		has, err := store.GetSize(t.Context(), datastore.NewKey("/worker/out/"+p.onlyTask(t)))
		return err == nil && has > 0
	}, 30*time.Second, time.Millisecond)
	stop()
	require.Zero(t, l.puts.Load())
	l.cut.Store(false)
	background(t, p.remote(t, l.URL, dir, store, []api.TaskType{api.TaskCommit1},
		func(context.Context, api.TaskStatus, *engine.Claim) (json.RawMessage, error) {
			begun.Add(1)
			return nil, &api.ErrInvalid{What: "task", Reason: "done again"}
		}).Run)
	p.awaitC1(t)
	require.Equal(t, int32(1), begun.Load())
	require.Equal(t, int32(1), l.puts.Load())
}

func (p *private) onlyTask(t *testing.T) string {
	t.Helper()
	list, _, err := p.manager.TaskList(t.Context(), "", 2)
	require.NoError(t, err)
	require.Len(t, list, 1)
	return list[0].ID.String()
}

// TestProofInAMessageFailsTheTask with the reason, at once: the node's limit is
// not tried against for ever.
func TestProofInAMessageFailsTheTask(t *testing.T) {
	p := newPrivate(t)
	p.submitC1(t)
	background(t, p.remote(t, "http://"+p.addr, t.TempDir(), memStore(), []api.TaskType{api.TaskCommit1},
		func(context.Context, api.TaskStatus, *engine.Claim) (json.RawMessage, error) {
			return json.Marshal(blobstest.Bytes(blobstest.VanillaSize))
		}).Run)
	st := p.await(t, p.spec(t))
	require.Equal(t, api.TaskFailed, st.State)
	require.False(t, st.Failure.Retryable)
	require.Contains(t, st.Failure.Text, "more than the 65536 of a message")
	require.Equal(t, 1, st.Attempts)
}
