package deals

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/internal/filcrypto"
	"quarry/internal/lifecycle"
	"quarry/internal/redact"
	"quarry/markets/transfer"
	"quarry/markets/wire"
)

// Chain is what deals read from the chain.
type Chain interface {
	ChainView
	StateMarketStorageDeal(ctx context.Context, id abi.DealID, tsk api.TipSetKey) (*api.MarketDeal, error)
}

// Publisher puts deals on chain; both methods may be repeated.
type Publisher interface {
	Publish(ctx context.Context, id api.UUID, signed []byte) (cid.Cid, error)
	Confirm(ctx context.Context, id api.UUID, signed []byte, c cid.Cid) (cid.Cid, abi.DealID, error)
}

// Sealing takes pieces; calls are keyed by the deal's UUID and the attempt.
type Sealing interface {
	SectorAddPiece(ctx context.Context, r api.AddPieceRequest) (api.PiecePlacement, error)
	SectorPlacement(ctx context.Context, key string) (api.PiecePlacement, error)
	SectorsStatus(ctx context.Context, n abi.SectorNumber, log bool) (api.SectorInfo, error)
}

// Index remembers where pieces and their blocks are.
type Index interface {
	AddDeal(ctx context.Context, piece cid.Cid, deal api.UUID, payload uint64, at api.PiecePlacement) error
	Index(ctx context.Context, piece cid.Cid, r io.ReaderAt, size uint64) error
	// ForgetSector takes out a placement that was given up; one that is not there
	// is no error.
	ForgetSector(ctx context.Context, piece cid.Cid, at api.PiecePlacement) error
}

// Fetcher pulls payloads.
type Fetcher interface {
	Fetch(ctx context.Context, r transfer.Request) error
}

// Heads is the clock.
type Heads interface {
	Head() *api.TipSet
	WaitHeight(ctx context.Context, h abi.ChainEpoch) (*api.TipSet, error)
}

// Config of a Provider.
type Config struct {
	Policy        Policy
	StagingDir    string         // made when missing
	StagedBaseURL string         // the private side pulls <base>/staged/<uuid>
	Transfers     int            // at once, 0 = 20
	CommP         int            // at once, 0 = 1
	PollEpochs    abi.ChainEpoch // between looks at a sealing deal, 0 = 4
	RetryMin      time.Duration  // after a temporary failure, doubled up to RetryMax; 0 = 1 s
	RetryMax      time.Duration  // 0 = 1 min
}

// Deps of a Provider. Keep names callbacks that the subsystem serves.
type Deps struct {
	Store     *Store
	Chain     Chain
	Heads     Heads
	Publisher Publisher
	Sealing   Sealing
	Index     Index
	Fetcher   Fetcher
	Ask       func(ctx context.Context) (api.StorageAskInfo, error)
	Indexed   func(ctx context.Context, piece cid.Cid) (api.PieceRecord, error) // what Index found out; nil: deals say nothing of it
	// bytes that may be written below dir; nil: of its file system
	Free func(dir string) (uint64, error)
	Log  *slog.Logger
}

// Provider accepts and executes deals.
type Provider struct {
	cfg       Config
	deps      Deps
	transfers chan struct{}
	commps    chan struct{}
	started   chan api.UUID // deals to execute, read by Run
	catch     *lifecycle.Catcher
	mu        sync.Mutex
	running   map[api.UUID]bool
}

// New makes a Provider; nothing happens until Run.
func New(cfg Config, deps Deps) (*Provider, error) {
	if err := os.MkdirAll(cfg.StagingDir, 0o700); err != nil {
		return nil, fmt.Errorf("make staging directory: %w", err)
	}
	if cfg.Transfers == 0 {
		cfg.Transfers = 20
	}
	if cfg.CommP == 0 {
		cfg.CommP = 1
	}
	if cfg.PollEpochs == 0 {
		cfg.PollEpochs = 4
	}
	if cfg.RetryMin == 0 {
		cfg.RetryMin = time.Second
	}
	if cfg.RetryMax == 0 {
		cfg.RetryMax = time.Minute
	}
	if deps.Free == nil {
		deps.Free = freeBytes
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	return &Provider{
		cfg:       cfg,
		deps:      deps,
		transfers: make(chan struct{}, cfg.Transfers),
		commps:    make(chan struct{}, cfg.CommP),
		started:   make(chan api.UUID, 64),
		catch:     lifecycle.NewCatcher(deps.Log),
		running:   map[api.UUID]bool{},
	}, nil
}

const stagedSuffix = ".payload"

// StagedPath is the staging file of a deal.
func (p *Provider) StagedPath(id api.UUID) string {
	return filepath.Join(p.cfg.StagingDir, id.String()+stagedSuffix)
}

// Propose judges a proposal and, when it is good, writes it down and starts it.
func (p *Provider) Propose(ctx context.Context, params *wire.DealParams, from string) wire.DealResponse {
	if err := p.propose(ctx, params, from); err != nil {
		p.deps.Log.Info("deal refused", "deal", params.DealUUID, "peer", from, "reason", err)
		return wire.DealResponse{Message: redact.Text(err.Error())}
	}
	p.deps.Log.Info("deal accepted", "deal", params.DealUUID, "peer", from)
	p.start(ctx, params.DealUUID)
	return wire.DealResponse{Accepted: true}
}

func (p *Provider) propose(ctx context.Context, params *wire.DealParams, from string) error {
	ask, err := p.deps.Ask(ctx)
	if err != nil {
		return serverError("getting ask", err)
	}
	prop := params.ClientDealProposal
	st, err := validate(ctx, p.cfg.Policy, p.deps.Chain, ask, prop)
	if err != nil {
		return fmt.Errorf("failed validation: %w", err)
	}
	tp, err := transferParams(params)
	if err != nil {
		return err
	}
	if err := considered(p.cfg.Policy, prop.Proposal, st.head); err != nil {
		return err
	}
	token, err := randomToken()
	if err != nil {
		return serverError("creating download staging file", err)
	}
	rec, err := newRecord(params, tp, from, token, time.Now())
	if err != nil {
		return serverError("save to db", err)
	}
	rec.logf(rec.Created, "accepted from %s", from)
	return p.deps.Store.Insert(ctx, rec, p.room(params.Transfer.Size), affordable(prop.Proposal, st.funds))
}

func randomToken() (string, error) {
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	return hex.EncodeToString(b), nil
}

// start asks Run to execute a deal. A deal that does not fit the queue is
// picked up at the next start of the process, and by a retry.
func (p *Provider) start(ctx context.Context, id api.UUID) {
	select {
	case p.started <- id:
	case <-ctx.Done():
	}
}

// Retry lets a deal that waits for the operator go on.
func (p *Provider) Retry(ctx context.Context, id api.UUID) error {
	rec, err := p.deps.Store.Get(id)
	if err != nil {
		return err
	}
	if rec.Final() {
		return &api.ErrInvalid{What: "retry of deal " + id.String(), Reason: "the deal is complete", Hint: rec.Err}
	}
	if _, err := p.deps.Store.Update(ctx, id, func(r *Record) {
		r.Retry, r.Err = api.DealRetryAuto, ""
		r.logf(time.Now(), "retry asked for")
	}); err != nil {
		return err
	}
	p.start(ctx, id)
	return nil
}

// Status answers a client's status request.
func (p *Provider) Status(ctx context.Context, req *wire.DealStatusRequest) wire.DealStatusResponse {
	resp := wire.DealStatusResponse{DealUUID: req.DealUUID}
	rec, err := p.deps.Store.Get(req.DealUUID)
	if err != nil {
		resp.Error = fmt.Sprintf("no storage deal found with deal UUID %s", req.DealUUID)
		return resp
	}
	prop, err := rec.Proposal()
	if err != nil {
		resp.Error = "failed to fetch deal status"
		return resp
	}
	key, err := p.deps.Chain.StateAccountKey(ctx, prop.Proposal.Client, nil)
	if err != nil {
		resp.Error = fmt.Sprintf("failed to get account key for client addr %s", prop.Proposal.Client)
		return resp
	}
	if err := filcrypto.Verify(&req.Signature, key, req.DealUUID[:]); err != nil {
		resp.Error = "signature verification failed"
		return resp
	}
	resp.TransferSize, resp.NBytesReceived = rec.TransferSize, rec.Received
	resp.DealStatus = &wire.DealStatus{
		Error:             rec.Err,
		Status:            string(rec.Checkpoint),
		SealingStatus:     string(rec.SealingState),
		Proposal:          prop.Proposal,
		SignedProposalCid: rec.SignedCid,
		PublishCid:        rec.PublishCid,
		ChainDealID:       rec.ChainDealID,
	}
	withNote(resp.DealStatus, rec)
	resp.DealStatus.Error = redact.Text(resp.DealStatus.Error, clientHost(rec))
	return resp
}

// clientHost is the host that the client itself named, empty for none.
func clientHost(rec *Record) string {
	u, err := url.Parse(rec.TransferURL)
	if err != nil {
		return ""
	}
	return u.Host
}

// Run executes deals, those left by earlier runs first, until ctx ends; it
// returns when every execution has stopped.
func (p *Provider) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, why := range p.deps.Store.SetAside() {
		p.deps.Log.Error("deal set aside", "error", why, "hint", poisonHint)
	}
	p.sweep()
	for _, rec := range p.deps.Store.List() {
		if !rec.Final() && rec.Retry == api.DealRetryAuto || unsettled(rec) {
			p.launch(ctx, &wg, rec.UUID)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case id := <-p.started:
			p.launch(ctx, &wg, id)
		}
	}
}

// sweep removes what a crash left of deals that are over: the record is written
// before the file goes.
func (p *Provider) sweep() {
	entries, err := os.ReadDir(p.cfg.StagingDir)
	if err != nil {
		p.deps.Log.Warn("cannot look for staging files that nobody needs", "error", err)
		return
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), stagedSuffix)
		id, err := uuid.Parse(name)
		if !ok || err != nil {
			continue // not ours
		}
		if rec, err := p.deps.Store.Get(id); err == nil && rec.Final() {
			p.removeStaged(id)
		}
	}
}

// launch runs a deal unless it is running; two executions of one deal never
// overlap.
func (p *Provider) launch(ctx context.Context, wg *sync.WaitGroup, id api.UUID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running[id] {
		return
	}
	p.running[id] = true
	wg.Go(func() {
		// What a panic leaves undone is begun again from the stored checkpoint.
		p.catch.Again(ctx, "deal "+id.String(), func(ctx context.Context) error {
			p.execute(ctx, id)
			return nil
		})
		p.mu.Lock()
		delete(p.running, id)
		p.mu.Unlock()
		// A retry that came while the execution was ending must not be lost.
		if r, err := p.deps.Store.Get(id); err == nil && ctx.Err() == nil && !r.Final() && r.Retry == api.DealRetryAuto {
			p.start(ctx, id)
		}
	})
}

// classError carries what becomes of the deal, and whose trouble it is.
type classError struct {
	class api.DealRetry
	fault api.Fault
	err   error
}

func (e *classError) Error() string { return e.err.Error() }
func (e *classError) Unwrap() error { return e.err }

// fatalError ends a deal for what its client did.
func fatalError(format string, args ...any) error {
	return &classError{api.DealRetryFatal, api.FaultCaller, fmt.Errorf(format, args...)}
}

func manualError(format string, args ...any) error {
	return &classError{api.DealRetryManual, api.FaultCaller, fmt.Errorf(format, args...)}
}

// classOf is auto for every error that no step has judged: whatever its type,
// it is a trouble of ours, and the deal is tried again.
func classOf(err error) api.DealRetry {
	var c *classError
	if errors.As(err, &c) {
		return c.class
	}
	return api.DealRetryAuto
}

// faultOf is the client's only where a step said so. The caller of a subsystem
// is this one, and its mistakes are the provider's too.
func faultOf(err error) api.Fault {
	var c *classError
	if errors.As(err, &c) {
		return c.fault
	}
	if f := api.FaultOf(err); f != api.FaultCaller {
		return f
	}
	return api.FaultStore
}
