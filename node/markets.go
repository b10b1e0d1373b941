package node

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/chain/msgs"
	"quarry/internal/lifecycle"
	"quarry/internal/listen"
	"quarry/internal/loglimit"
	"quarry/internal/ownaddr"
	"quarry/markets"
	mnet "quarry/markets/net"
	"quarry/node/pull"
	"quarry/node/repo"
	"quarry/storage/fetch"
)

// liveMarkets is one life of the markets.
type liveMarkets struct {
	*markets.Markets
	staged, retrieval http.Handler
}

// senders are those of the markets; they outlive their lives.
type senders struct{ publish, escrow *msgs.Sender }

// withMarkets is a must only where nothing owes proofs: a libp2p port that is
// taken, or a record of a deal that cannot be read, must not cost power.
func (n *Node) withMarkets(ctx context.Context) error {
	if !n.set.Markets {
		return nil
	}
	out := senders{
		publish: n.sender("publish", n.set.Fees.publishes()),
		// In the same table: what was sent under the keys of the escrow stays known.
		escrow: n.sender("publish", n.set.Fees.escrows()),
	}
	now := newLate[*liveMarkets]("markets")
	n.srv.RegisterMarkets(&api.MarketsLate{Get: func() (api.Markets, error) { return now.get() }})
	n.srv.RegisterNet(&api.NetLate{Get: func() (api.Net, error) { return now.get() }})
	// The handler checks the deal's own bearer.
	n.srv.HandlePublic("/staged/", lateHandler(now, func(m *liveMarkets) http.Handler { return m.staged }))
	must := !n.set.Mining
	err := n.group.Keep(ctx, lifecycle.Keep{Name: "markets", Must: must, Run: func(ctx context.Context, up func()) error {
		return n.runMarkets(ctx, out, now, up)
	}})
	if err != nil {
		return err
	}
	if err := n.keep(ctx, "identity on chain", func(ctx context.Context) error { return n.watchIdentity(ctx, now) }); err != nil {
		return err
	}
	if n.set.RetrievalListen == "" {
		return nil
	}
	handler := lateHandler(now, func(m *liveMarkets) http.Handler { return m.retrieval })
	return n.group.Keep(ctx, lifecycle.Keep{Name: "retrieval", Must: must, Run: func(ctx context.Context, up func()) error {
		return n.runRetrieval(ctx, handler, up)
	}})
}

// runMarkets is one life of the markets: with its libp2p host it comes and goes.
func (n *Node) runMarkets(ctx context.Context, out senders, now *late[*liveMarkets], up func()) error {
	priv, err := Libp2pKey(n.repo.Keystore())
	if err != nil {
		return err
	}
	h, err := mnet.NewHost(mnet.Config{
		Key:      priv,
		Listen:   n.set.Libp2pListen,
		Announce: n.set.Libp2pAnnounce,
		Limits:   n.set.Limits.Libp2p,
		Log:      n.log.With("part", "libp2p"),
	})
	if err != nil {
		return err
	}
	defer func() { _ = h.Close() }() // the connections of strangers
	reader, closeReader := n.pieceReader()
	defer closeReader()
	cfg := n.set.MarketsOpts
	cfg.Miner, cfg.StagingDir, cfg.StagedBaseURL = n.maddr, filepath.Join(n.set.RepoDir, "deal-staging"), n.base
	m, err := markets.New(ctx, cfg, markets.Deps{
		Store:   n.repo.Datastore(repo.Markets),
		Chain:   n.chain,
		Sealing: n.sealing,
		Reader:  reader,
		Host:    h,
		Heads:   n.heads,
		Msgs:    out.publish,
		Escrow:  out.escrow,
		Log:     n.log.With("part", "markets"),
	})
	if err != nil {
		return err
	}
	defer now.is(&liveMarkets{Markets: m, staged: m.StagedHandler(), retrieval: m.RetrievalHandler()})()
	up()
	return m.Run(ctx)
}

// pieceReader reads what is unsealed: where it is reached, or, in pull mode, as the
// private node pushes it.
func (n *Node) pieceReader() (r markets.PieceReader, closed func()) {
	var at fetch.Index = n.storage
	if n.accepts != nil {
		at = sharedOnly{n.storage}
	}
	reader := fetch.NewReader(fetch.ReaderConfig{Holder: "markets"},
		fetch.ReaderDeps{Local: n.local, Index: at, Log: n.log.With("part", "reader")})
	direct := func(ctx context.Context, s abi.SectorID, off, size abi.PaddedPieceSize) (markets.UnsealedReader, error) {
		return reader.OpenUnsealed(ctx, s, off, size)
	}
	if n.accepts == nil {
		return markets.PieceReaderFunc(direct), reader.Close
	}
	return pulledPieces(direct, pull.NewReader(pull.ReaderDeps{Link: n.store, At: n.accepts})), reader.Close
}

// lateHandler serves what the part's handler is at that moment.
func lateHandler[T any](now *late[T], of func(T) http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		part, err := now.get()
		if err != nil {
			w.Header().Set("Retry-After", "10")
			http.Error(w, "not available now, try again later", http.StatusServiceUnavailable)
			return
		}
		of(part).ServeHTTP(w, r)
	})
}

// runRetrieval is one life of the public listener: no token, no RPC, only
// content.
func (n *Node) runRetrieval(ctx context.Context, h http.Handler, up func()) error {
	log := loglimit.Logger(n.log.With("part", "retrieval")) // strangers can cause these lines at will
	ln, err := listen.Open(listen.Config{Address: n.set.RetrievalListen, Limits: n.set.Limits.Retrieval, Log: log})
	if err != nil {
		return fmt.Errorf("listen for retrievals on %s (is the port taken?): %w", n.set.RetrievalListen, err)
	}
	at := ownaddr.ForOthers(ctx, ownaddr.Config{Bound: ln.Addr().String()})
	n.log.Info("serving retrievals", "bound", ln.Addr().String(), "this host reaches it at", "http://"+
		ownaddr.OnThisHost(ln.Addr().String()),
		"others at", "http://"+at.HostPort)
	up()
	return ln.Serve(ctx, ln.Server(h), 5*time.Second)
}
