package markets

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/google/uuid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	lcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/markets/dealmaker"
	mnet "quarry/markets/net"
)

var minerAddr = must(address.NewIDAddress(1000))

// world is a provider with everything around it faked but the network.
type world struct {
	t       testing.TB
	chain   *fakeChain
	sealing *fakeSealing
	ds      datastore.Batching
	dir     string
	host    host.Host
	m       *Markets
	http    *httptest.Server
	mux     atomic.Pointer[http.ServeMux]
	stop    func()
	client  *dealmaker.Client
	wallet  address.Address
}

func newHost(t testing.TB, listen ...string) host.Host {
	key, _, err := lcrypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	h, err := mnet.NewHost(mnet.Config{Key: key, Listen: listen})
	require.NoError(t, err)
	return h
}

func newWorld(t testing.TB) *world {
	w := &world{
		t:       t,
		chain:   newFakeChain(t),
		sealing: newFakeSealing(),
		ds:      dssync.MutexWrap(datastore.NewMapDatastore()),
		dir:     t.TempDir(),
	}
	w.host = newHost(t, "/ip4/127.0.0.1/tcp/0")
	t.Cleanup(func() { w.host.Close() })
	id := w.host.ID().String()
	w.chain.info.PeerId = &id
	for _, a := range w.host.Addrs() {
		w.chain.info.Multiaddrs = append(w.chain.info.Multiaddrs, a.Bytes())
	}
	w.wallet = w.chain.newKey(t)
	ch := newHost(t)
	t.Cleanup(func() { ch.Close() })
	w.client = &dealmaker.Client{Chain: w.chain, Host: ch}
	w.http = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.mux.Load().ServeHTTP(rw, r) }))
	t.Cleanup(w.http.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	w.start()
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *world) start() {
	cfg := DefaultConfig()
	cfg.Miner, cfg.StagingDir, cfg.StagedBaseURL = minerAddr, w.dir, w.http.URL
	cfg.AllowPrivateIPs, cfg.MinSealing, cfg.PublishBuffer, cfg.PublishPeriod = true, 100, 10, 0
	cfg.UnsealOnRetrieval = true
	m, err := New(context.Background(), cfg, Deps{
		Store:   w.ds,
		Chain:   w.chain,
		Sealing: w.sealing,
		Reader:  w.sealing,
		Host:    w.host,
		Heads:   w.chain,
		Msgs:    w.chain,
	})
	require.NoError(w.t, err)
	w.m = m
	mux := http.NewServeMux()
	mux.Handle("/staged/", m.StagedHandler())
	mux.Handle("/ipfs/", m.RetrievalHandler())
	mux.Handle("/piece/", m.RetrievalHandler())
	w.mux.Store(mux)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	w.stop = func() {
		cancel()
		require.NoError(w.t, <-done)
		w.stop = func() {}
	}
	require.Eventually(w.t, func() bool {
		have := w.host.Mux().Protocols()
		for id := range m.handlers() {
			if !slices.Contains(have, protocol.ID(id)) {
				return false
			}
		}
		return true
	}, 5*time.Second, time.Millisecond)
}

// file writes pseudo-random bytes, different for every seed.
func (w *world) file(size int, seed uint64) string {
	b := make([]byte, size)
	for i := 0; i+8 <= size; i += 8 {
		seed = seed*6364136223846793005 + 1442695040888963407
		binary.LittleEndian.PutUint64(b[i:], seed)
	}
	path := filepath.Join(w.t.TempDir(), "data.bin")
	require.NoError(w.t, os.WriteFile(path, b, 0o600))
	return path
}

func (w *world) car(file string) *dealmaker.CAR {
	c, err := dealmaker.Pack(context.Background(), file, filepath.Join(w.t.TempDir(), "out.car"), 256)
	require.NoError(w.t, err)
	return c
}

func (w *world) propose(ctx context.Context, car *dealmaker.CAR, url string) (uuid.UUID, error) {
	p, err := w.client.Provider(ctx, minerAddr)
	require.NoError(w.t, err)
	ask, err := w.client.Ask(ctx, p)
	require.NoError(w.t, err)
	params, err := w.client.Proposal(ctx, p, ask, car, dealmaker.Terms{
		Wallet:        w.wallet,
		StartDelay:    1000,
		Duration:      518400,
		URL:           url,
		AutoAddEscrow: true,
	})
	require.NoError(w.t, err)
	return params.DealUUID, w.client.Propose(ctx, p, params)
}

func (w *world) reach(id uuid.UUID, c api.DealCheckpoint) api.DealInfo {
	var info api.DealInfo
	require.Eventually(w.t, func() bool {
		var err error
		info, err = w.m.DealsGet(context.Background(), id, true)
		require.NoError(w.t, err)
		return info.Checkpoint == c
	}, 20*time.Second, 5*time.Millisecond, "deal does not reach %s", c)
	return info
}

// unstaged waits until a deal's staging file is gone: the record is written first.
func (w *world) unstaged(id uuid.UUID) {
	require.Eventually(w.t, func() bool {
		_, err := os.Stat(w.m.deals.StagedPath(id))
		return errors.Is(err, os.ErrNotExist)
	}, 20*time.Second, time.Millisecond, "the staging file of %s stays", id)
}

func (w *world) settles(id uuid.UUID, s api.SectorState) {
	require.Eventually(w.t, func() bool {
		w.chain.grow(1)
		info, err := w.m.DealsGet(context.Background(), id, false)
		require.NoError(w.t, err)
		return info.SealingState == s && info.Checkpoint == api.DealComplete
	}, 20*time.Second, 5*time.Millisecond, "sector is not shown as %s", s)
}
