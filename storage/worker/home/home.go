package home

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/ipfs/go-datastore"

	"quarry/api"
	"quarry/internal/holder"
)

// Limits of asking a node who it is.
const (
	askTime    = 10 * time.Second
	wrongPause = 10 * time.Second // before one that was wrong is asked again
)

// Deps of a Gate.
type Deps struct {
	Store datastore.Batching // of the worker
	// Handshake asks the process at the private node's address who it is.
	Handshake func(ctx context.Context, me api.Introduction) (api.Handshake, error)
	Log       *slog.Logger
}

// Gate stands before every call to the private node; it is a client.Gate. Its
// methods may be called from several goroutines at once.
type Gate struct {
	deps   Deps
	asking chan struct{} // holds one: a question at a time

	mu       sync.Mutex
	pin      pin
	instance string // of the node that was found right; empty: none was, or it was replaced
	rounds   uint64 // questions that were answered
	wrong    *WrongNodeError
	asked    time.Time // when wrong was found
}

// pin is where the worker belongs.
type pin struct {
	Miner   string // f0 address
	Network string // its name
	Genesis string // CID of its genesis block
}

var pinKey = datastore.NewKey("/worker/home")

// Open reads where the worker belongs; one that is new belongs nowhere yet.
func Open(ctx context.Context, deps Deps) (*Gate, error) {
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	g := &Gate{deps: deps, asking: make(chan struct{}, 1)}
	b, err := deps.Store.Get(ctx, pinKey)
	if errors.Is(err, datastore.ErrNotFound) {
		return g, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &g.pin)
	}
	if err != nil {
		return nil, fmt.Errorf("read which miner this worker belongs to: %w", err)
	}
	return g, nil
}

// WrongNodeError says that a process answers that is not the private node of this
// worker's miner. Nothing is sent to it.
type WrongNodeError struct{ Reason string }

func (e *WrongNodeError) Error() string { return "not the private node of this worker: " + e.Reason }

func wrongf(format string, args ...any) *WrongNodeError {
	return &WrongNodeError{Reason: fmt.Sprintf(format, args...)}
}

// Allow implements client.Gate. A wrong node counts as unreachable: work goes on,
// results are kept, and the right one is waited for.
func (g *Gate) Allow(ctx context.Context, m api.Method) (string, error) {
	if m.Name == "Handshake" || m.Name == "Version" {
		return "", nil
	}
	g.mu.Lock()
	instance, wrong, fresh := g.instance, g.wrong, time.Since(g.asked) < wrongPause
	g.mu.Unlock()
	if instance != "" {
		return instance, nil
	}
	if wrong == nil || !fresh {
		if err := g.Meet(ctx); !errors.As(err, &wrong) {
			if err != nil {
				return "", err
			}
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.instance, nil
		}
	}
	return "", &api.ErrUnreachable{Peer: "the private node", Reason: wrong.Error()}
}

// Replaced implements client.Gate.
func (g *Gate) Replaced(instance string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.instance == instance {
		g.instance = ""
	}
}

// Meet asks the node who it is, or waits for the answer to somebody who does.
// *WrongNodeError for one that is not this worker's; any other error says that it
// cannot be told now.
func (g *Gate) Meet(ctx context.Context) error {
	g.mu.Lock()
	before := g.rounds
	g.mu.Unlock()
	select {
	case g.asking <- struct{}{}:
		defer func() { <-g.asking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	g.mu.Lock()
	done, wrong := g.rounds > before && (g.instance != "" || g.wrong != nil), g.wrong
	g.mu.Unlock()
	if done && wrong != nil {
		return wrong
	}
	if done {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	got, err := g.deps.Handshake(limited, api.Introduction{Identity: api.Identity{Kind: kindWorker}})
	var absent *api.ErrNotServedHere
	if errors.As(err, &absent) {
		return g.note("", wrongf("it does not answer as a private node of this release: %v", err))
	}
	if err != nil {
		return err
	}
	return g.judge(ctx, got)
}

// kindWorker is how a worker's repo calls itself.
const kindWorker = "worker"

// judge compares an answer with where the worker belongs, and remembers that at
// the first time.
func (g *Gate) judge(ctx context.Context, got api.Handshake) error {
	is := pin{Miner: got.Miner, Network: got.Network, Genesis: got.Genesis}
	g.mu.Lock()
	want := g.pin
	g.mu.Unlock()
	if wrong := want.compare(got); wrong != nil {
		return g.note("", wrong)
	}
	if want == (pin{}) {
		if got.Genesis == "" {
			return &api.ErrUnreachable{Peer: "the private node", Reason: "it waits for its full node and cannot tell its network yet"}
		}
		if err := g.remember(ctx, is); err != nil {
			return err
		}
	}
	return g.note(got.Instance.String(), nil)
}

// compare tells what is wrong with a node; nil where nothing is. One that waits for
// its full node cannot tell its network: its miner is enough for a worker that it
// knows.
func (want pin) compare(got api.Handshake) *WrongNodeError {
	shown := holder.Printable
	_, stores := got.APIVersions[api.SubsystemSectorStorage]
	switch {
	case got.Miner == "":
		return wrongf("its address is that of a %s; give the private node's", shown(got.Kind))
	case !stores:
		return wrongf("sector storage does not run there (it is a %s node of miner %s); give the private node's address",
			shown(got.Kind), shown(got.Miner))
	case got.Instance == uuid.Nil:
		return wrongf("it does not say which process it is")
	case want == pin{}:
		return nil
	case got.Miner != want.Miner:
		return wrongf("it belongs to miner %s, this worker to %s; give it the address of that one's private node, "+
			"or start a worker for the other miner with a repo of its own", shown(got.Miner), want.Miner)
	case got.Genesis != "" && (got.Genesis != want.Genesis || got.Network != want.Network):
		return wrongf("it is on network %s (genesis %s), this worker belongs to %s (genesis %s); "+
			"start one for the other network with a repo of its own",
			shown(got.Network), shown(got.Genesis), want.Network, want.Genesis)
	}
	return nil
}

func (g *Gate) remember(ctx context.Context, is pin) error {
	b, err := json.Marshal(is)
	if err != nil {
		return err
	}
	if err := g.deps.Store.Put(ctx, pinKey, b); err != nil {
		return fmt.Errorf("remember which miner this worker belongs to: %w", err)
	}
	if err := g.deps.Store.Sync(ctx, pinKey); err != nil {
		return fmt.Errorf("remember which miner this worker belongs to: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pin = is
	g.deps.Log.Info("this worker belongs to a miner from now on", "miner", is.Miner, "network", is.Network)
	return nil
}

// note takes what was found out. A wrong node is told once.
func (g *Gate) note(instance string, wrong *WrongNodeError) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.wrong
	g.rounds++
	g.instance, g.wrong, g.asked = instance, wrong, time.Now()
	if wrong == nil {
		if was != nil {
			g.deps.Log.Info("the private node of this worker answers again")
		}
		return nil
	}
	if was == nil || was.Reason != wrong.Reason {
		g.deps.Log.Error("nothing is sent to the process at the private node's address", "err", wrong)
	}
	return wrong
}
