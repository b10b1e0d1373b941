package engine

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// bulk is a store of bulk results and what the node has of it.
type bulk struct {
	mu     sync.Mutex
	kept   map[api.CidString]string
	node   map[api.CidString]bool
	err    error // of Upload and of reading
	swept  []map[api.CidString]bool
	age    time.Duration
	before func() // Upload
}

func newBulk() *bulk { return &bulk{kept: map[api.CidString]string{}, node: map[api.CidString]bool{}} }

func (b *bulk) Keep(_ context.Context, r io.Reader) (api.BlobRef, error) {
	raw, err := io.ReadAll(r)
	b.mu.Lock()
	defer b.mu.Unlock()
	ref := api.BlobRef{CID: api.CidString("cid of " + string(raw)), Size: int64(len(raw))}
	b.kept[ref.CID] = string(raw)
	return ref, err
}

func (b *bulk) Upload(_ context.Context, ref api.BlobRef) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.before != nil {
		b.before()
	}
	if b.err == nil {
		b.node[ref.CID] = true
	}
	return b.err
}

func (b *bulk) BlobOpen(_ context.Context, ref api.BlobRef) (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return nil, b.err
	}
	return io.NopCloser(strings.NewReader(b.kept[ref.CID])), nil
}

func (b *bulk) Sweep(named map[api.CidString]bool, age time.Duration) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.swept, b.age = append(b.swept, named), age
	return 0, errors.New("a disk error, which is logged")
}

// logged are the records of a test, as "LEVEL message".
type logged struct {
	mu   sync.Mutex
	text []string
}

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }
func (l *logged) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logged) WithGroup(string) slog.Handler            { return l }
func (l *logged) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, r.Level.String()+" "+r.Message)
	return nil
}

func (l *logged) count(part string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.text {
		if strings.Contains(t, part) {
			n++
		}
	}
	return n
}

// bench is a worker over a node, with what a test looks at.
type bench struct {
	*Engine
	node  *node
	bulk  *bulk
	store datastore.Batching
	log   *logged
	stop  context.CancelFunc
	done  chan struct{}
	err   error // of Run, when done is closed
}

func memStore() datastore.Batching { return dssync.MutexWrap(datastore.NewMapDatastore()) }

// run starts a worker; stop it before the test ends.
func run(t *testing.T, cfg Config, n *node, store datastore.Batching, b *bulk, work Work) *bench {
	t.Helper()
	w := &bench{
		node:  n,
		bulk:  b,
		store: store,
		log:   &logged{},
		done:  make(chan struct{}),
	}
	var err error
	cfg.TaskTypes = []api.TaskType{api.TaskPreCommit1, api.TaskCommit1}
	w.Engine, err = New(t.Context(), cfg, Deps{
		Node:  n,
		Work:  work,
		Store: store,
		Bulk:  b,
		Log:   slog.New(w.log),
	})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	go func() {
		defer close(w.done)
		w.err = w.Run(ctx)
	}()
	t.Cleanup(func() { _ = w.halt() })
	return w
}

// halt stops the worker and gives what Run returned.
func (w *bench) halt() error {
	w.stop()
	return w.ended()
}

// ended waits for the end of Run and gives what it returned.
func (w *bench) ended() error {
	<-w.done
	return w.err
}

// outcomes are what lies in the outbox of a store.
func outcomes(t *testing.T, store datastore.Batching) []outcome {
	t.Helper()
	all, err := outbox{store}.all(t.Context(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return all
}

var someResult = json.RawMessage(`{"it":"is done"}`)
