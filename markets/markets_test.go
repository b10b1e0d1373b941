package markets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/google/uuid"
	"github.com/ipfs/go-datastore"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"quarry/api"
	"quarry/markets/dealmaker"
)

func TestDealToRetrieval(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("deal", func(t *testing.T) {
		w := newWorld(t)
		ctx := context.Background()
		file := w.file(3<<20, 1)
		car := w.car(file)
		srv, err := dealmaker.ServeFile(car.Path, "127.0.0.1:0", "")
		require.NoError(t, err)
		defer srv.Close()

		id, err := w.propose(ctx, car, srv.URL)
		require.NoError(t, err)
		info := w.reach(id, api.DealIndexed)
		require.Equal(t, uint64(car.Size), info.Received)
		require.Equal(t, 1, w.sealing.adds[id.String()])
		require.FileExists(t, w.m.deals.StagedPath(id)) // another place may need them

		// The provider's escrow was filled for exactly this deal's collateral.
		require.Equal(t, big.NewInt(1200), w.chain.escrow[minerAddr])
		require.Equal(t, 1, w.chain.sent[4])

		p, err := w.client.Provider(ctx, minerAddr)
		require.NoError(t, err)
		st, err := w.client.Status(ctx, p, w.wallet, id)
		require.NoError(t, err)
		require.Equal(t, "IndexedAndAnnounced", st.DealStatus.Status)
		_, err = w.client.Status(ctx, p, w.chain.newKey(t), id)
		require.ErrorContains(t, err, "signature verification failed")

		w.chain.activate(info.ChainDealID)
		info = w.reach(id, api.DealComplete)
		require.True(t, info.OnChainActive)
		require.Empty(t, info.Err)
		w.unstaged(id)

		// The deal follows its sector to the end, also over a restart.
		w.sealing.to(api.SectorFinalizeSector)
		w.settles(id, api.SectorFinalizeSector)
		w.stop()
		w.sealing.to(api.SectorProving)
		w.start()
		w.settles(id, api.SectorProving)

		w.sealing.mu.Lock()
		w.sealing.hidden = true // only sealed now: the retrieval unseals
		w.sealing.mu.Unlock()
		out := filepath.Join(t.TempDir(), "back.bin")
		_, err = dealmaker.Retrieve(ctx, w.http.Client(), w.http.URL, car.Root, out, nil)
		require.NoError(t, err)
		want, _ := os.ReadFile(file)
		got, _ := os.ReadFile(out)
		require.Equal(t, want, got)
		pieceRoutes(t, w, car)
	})
}

func pieceRoutes(t *testing.T, w *world, car *dealmaker.CAR) {
	want, err := os.ReadFile(car.Path)
	require.NoError(t, err)
	get := func(path, rng string) (*http.Response, []byte) {
		req, _ := http.NewRequest(http.MethodGet, w.http.URL+path, nil)
		if rng != "" {
			req.Header.Set("Range", rng)
		}
		resp, err := w.http.Client().Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp, b
	}
	resp, b := get("/piece/"+car.PieceCID.String(), "")
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, want, b)
	resp, b = get("/piece/"+car.PieceCID.String(), "bytes=1000-1999")
	require.Equal(t, 206, resp.StatusCode)
	require.Equal(t, want[1000:2000], b)
	resp, _ = get("/piece/"+car.Root.String(), "")
	require.Equal(t, 400, resp.StatusCode)
	resp, _ = get("/ipfs/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy?format=car", "")
	require.Equal(t, 404, resp.StatusCode)
	resp, b = get("/ipfs/"+car.Root.String()+"?format=raw", "")
	require.Equal(t, 200, resp.StatusCode)
	require.NotEmpty(t, b)
	resp, _ = get("/staged/"+uuid.NewString(), "")
	require.Equal(t, 401, resp.StatusCode)
}

// dyingStore stops taking writes after some, as a killed process does.
type dyingStore struct {
	datastore.Batching
	mu   sync.Mutex
	left int
	died chan struct{}
}

var errDead = errors.New("the process is dead")

func (d *dyingStore) use() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left == 0 {
		return errDead
	}
	if d.left--; d.left == 0 {
		close(d.died)
	}
	return nil
}

func (d *dyingStore) Put(ctx context.Context, k datastore.Key, v []byte) error {
	if err := d.use(); err != nil {
		return err
	}
	return d.Batching.Put(ctx, k, v)
}

func (d *dyingStore) Batch(ctx context.Context) (datastore.Batch, error) {
	if err := d.use(); err != nil {
		return nil, err
	}
	return d.Batching.Batch(ctx)
}

// The process dies after every single write of a deal's life in turn; the next
// one must bring the deal home without doing anything twice.
func TestDeathAtEveryWrite(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	disk := w.ds
	car := w.car(w.file(5000, 2))
	srv, err := dealmaker.ServeFile(car.Path, "127.0.0.1:0", "")
	require.NoError(t, err)
	defer srv.Close()
	deaths := 0
	for n := 1; ; n++ {
		require.Less(t, n, 60, "the deal never ends")
		w.stop()
		dying := &dyingStore{Batching: disk, left: n, died: make(chan struct{})}
		w.ds = dying
		w.start()
		before := map[abi.MethodNum]int{2: w.chain.sent[2], 4: w.chain.sent[4]}
		id, err := w.propose(ctx, car, srv.URL)
		if err != nil {
			require.ErrorContains(t, err, "server error: save to db")
		}
		finished := make(chan struct{})
		go func() {
			defer close(finished)
			for {
				info, err := w.m.DealsGet(ctx, id, false)
				if err == nil && info.Checkpoint == api.DealIndexed {
					return
				}
				select {
				case <-dying.died:
					return
				case <-time.After(time.Millisecond):
				}
			}
		}()
		<-finished
		alive := true
		select {
		case <-dying.died:
			alive = false
			deaths++
		default:
		}
		w.stop()
		w.ds = disk
		w.start()
		if info, err := w.m.DealsGet(ctx, id, false); err != nil {
			var missing *api.ErrNotFound
			require.ErrorAs(t, err, &missing, "a deal that was not written does not exist")
			continue
		} else {
			w.chain.activateWhenPublished(info.UUID, w)
		}
		w.reach(id, api.DealComplete)
		require.Equal(t, 1, w.sealing.adds[id.String()], "AddPiece must happen once (death after write %d)", n)
		require.Equal(t, before[4]+1, w.chain.sent[4], "one publish message (death after write %d)", n)
		if alive {
			break
		}
	}
	require.Greater(t, deaths, 8)
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	car := w.car(w.file(1000, 3))
	_, err := w.propose(ctx, car, "libp2p:///ip4/1.2.3.4/tcp/1/p2p/x")
	require.ErrorContains(t, err, "not built yet")
	var rejected *dealmaker.ErrRejected
	require.True(t, errors.As(err, &rejected))
	deals, err := w.m.DealsList(ctx, "", 10)
	require.NoError(t, err)
	require.Empty(t, deals.Deals)
}

// A second deal against an escrow that is promised to the first is refused, and
// the client that adds funds when told so gets it accepted.
func TestSecondDealNeedsItsOwnFunds(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(hang.Close)
	t.Cleanup(func() { w.stop() }) // ends the transfers before the server waits for them
	_, err := w.propose(ctx, w.car(w.file(1000, 8)), hang.URL)
	require.NoError(t, err)
	car := w.car(w.file(1000, 9))
	p, err := w.client.Provider(ctx, minerAddr)
	require.NoError(t, err)
	ask, err := w.client.Ask(ctx, p)
	require.NoError(t, err)
	params, err := w.client.Proposal(ctx, p, ask, car, dealmaker.Terms{
		Wallet:        w.wallet,
		StartDelay:    1000,
		Duration:      518400,
		URL:           hang.URL,
		AutoAddEscrow: true,
	})
	require.NoError(t, err)
	var rejected *dealmaker.ErrRejected
	require.ErrorAs(t, w.client.Propose(ctx, p, params), &rejected)
	require.Contains(t, rejected.Reason, "promised to deals not published yet")
	require.NoError(t, w.client.ProposeFunded(ctx, p, params))
	deals, err := w.m.DealsList(ctx, "", 10)
	require.NoError(t, err)
	require.Len(t, deals.Deals, 2)
}

// A client whose account is so new that the chain's answer does not have it yet
// has nothing in escrow, which is no reason to fail.
func TestNewAccountHasNoEscrow(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p, err := w.client.Provider(ctx, minerAddr)
	require.NoError(t, err)
	ask, err := w.client.Ask(ctx, p)
	require.NoError(t, err)
	young := &dealmaker.Client{Chain: newborn{w.chain}, Host: w.client.Host}
	terms := dealmaker.Terms{Wallet: w.wallet, StartDelay: 1000, Duration: 518400, URL: "http://example.com/x.car"}
	_, err = young.Proposal(ctx, p, ask, w.car(w.file(1000, 10)), terms)
	require.ErrorContains(t, err, "lacks")
	terms.AutoAddEscrow = true
	params, err := young.Proposal(ctx, p, ask, w.car(w.file(1000, 10)), terms)
	require.NoError(t, err)
	require.Equal(t, params.ClientDealProposal.Proposal.ClientBalanceRequirement(), w.chain.escrow[w.wallet])
}

// newborn is a chain that does not know any account.
type newborn struct{ *fakeChain }

func (newborn) StateMarketBalance(_ context.Context, a address.Address, _ api.TipSetKey) (api.MarketBalance, error) {
	return api.MarketBalance{}, fmt.Errorf("resolve %s: %w", a, &api.ErrActorNotFound{Address: a.String()})
}

func TestWrongPieceFailsForGood(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	car := w.car(w.file(10_000, 4))
	other := w.car(w.file(10_000, 5))
	require.Equal(t, car.Size, other.Size)
	srv, err := dealmaker.ServeFile(other.Path, "127.0.0.1:0", "")
	require.NoError(t, err)
	defer srv.Close()
	id, err := w.propose(ctx, car, srv.URL)
	require.NoError(t, err)
	info := w.reach(id, api.DealComplete)
	require.Contains(t, info.Err, "commp mismatch")
	w.unstaged(id)
	require.Error(t, w.m.DealsRetry(ctx, id))
	require.Zero(t, w.chain.sent[4])

	// A crash between the record and the file leaves nothing for ever, and what
	// is not ours is not touched.
	w.stop()
	foreign := filepath.Join(w.dir, "00112233-4455-4677-8899-aabbccddeeff.payload")
	for _, path := range []string{w.m.deals.StagedPath(id), foreign} {
		require.NoError(t, os.WriteFile(path, []byte("left"), 0o600))
	}
	w.start()
	w.unstaged(id)
	require.FileExists(t, foreign)
}

func TestPublishRefusalWaitsForOperator(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	car := w.car(w.file(10_000, 6))
	w.chain.drop[car.PieceCID] = true
	srv, err := dealmaker.ServeFile(car.Path, "127.0.0.1:0", "")
	require.NoError(t, err)
	defer srv.Close()
	id, err := w.propose(ctx, car, srv.URL)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		info, _ := w.m.DealsGet(ctx, id, false)
		return info.Retry == api.DealRetryManual
	}, 20*time.Second, 5*time.Millisecond)
	w.chain.mu.Lock()
	delete(w.chain.drop, car.PieceCID)
	w.chain.mu.Unlock()
	require.NoError(t, w.m.DealsRetry(ctx, id))
	w.reach(id, api.DealIndexed)
}

func TestAskChanges(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	before, err := w.m.MarketGetAsk(ctx)
	require.NoError(t, err)
	require.Equal(t, abi.PaddedPieceSize(8<<20), before.MaxPieceSize)
	require.NoError(t, w.m.MarketSetAsk(ctx, big.NewInt(7), big.NewInt(1), 1000, 256, 1<<20))
	require.Error(t, w.m.MarketSetAsk(ctx, big.NewInt(7), big.NewInt(1), 1000, 256, 16<<20))
	require.Error(t, w.m.MarketSetAsk(ctx, big.NewInt(-7), big.NewInt(1), 1000, 256, 1<<20))
	w.stop()
	w.start()
	after, err := w.m.MarketGetAsk(ctx)
	require.NoError(t, err)
	require.Equal(t, before.SeqNo+1, after.SeqNo)
	require.Equal(t, big.NewInt(7), after.Price)
}
