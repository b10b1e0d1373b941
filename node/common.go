package node

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"quarry/api"
	"quarry/build"
	"quarry/chain/msgs"
)

// Tokens issues and checks API tokens; the repo implements it.
type Tokens interface {
	Verify(ctx context.Context, token string) ([]api.Permission, error)
	Create(ctx context.Context, req api.TokenRequest) (string, error)
	New(ctx context.Context, perms []api.Permission) (string, error)
	List() []api.TokenInfo
	Revoke(ctx context.Context, id string) error
}

// common implements api.Common for a miner process.
type common struct {
	session    api.UUID
	started    time.Time
	miner      string
	subsystems []api.Subsystem
	tokens     Tokens
	level      *slog.LevelVar
	stop       context.CancelFunc
	peers      []*peerWatch // the first is the full node

	mu      sync.Mutex
	senders []*msgs.Sender
}

// follow shows what becomes of a sender's messages.
func (c *common) follow(s *msgs.Sender) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.senders = append(c.senders, s)
}

// stuck lists the messages of all senders that are in trouble.
func (c *common) stuck() (out []api.MessageStatus) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.senders {
		for _, m := range s.Waiting() {
			out = append(out, api.MessageStatus{Key: m.Key, Cid: m.CID, From: m.From.String(), Nonce: m.Nonce, Reason: m.Reason})
		}
	}
	return out
}

var _ api.Common = (*common)(nil)

func (c *common) Version(context.Context) (api.VersionInfo, error) {
	return api.VersionInfo{Version: build.Version, APIVersion: build.MinerAPIVersion, Agent: "quarry"}, nil
}

func (c *common) Session(context.Context) (api.UUID, error) { return c.session, nil }

func (c *common) RuntimeSubsystems(context.Context) ([]api.Subsystem, error) {
	return append([]api.Subsystem(nil), c.subsystems...), nil
}

func (c *common) AuthVerify(ctx context.Context, token string) ([]api.Permission, error) {
	return c.tokens.Verify(ctx, token)
}

func (c *common) AuthNew(ctx context.Context, perms []api.Permission) ([]byte, error) {
	token, err := c.tokens.New(ctx, perms)
	return []byte(token), err
}

func (c *common) AuthCreate(ctx context.Context, req api.TokenRequest) (string, error) {
	return c.tokens.Create(ctx, req)
}

func (c *common) AuthList(context.Context) ([]api.TokenInfo, error) { return c.tokens.List(), nil }

func (c *common) AuthRevoke(ctx context.Context, id string) error { return c.tokens.Revoke(ctx, id) }

// LogList names what LogSetLevel accepts: one level for the whole process.
func (c *common) LogList(context.Context) ([]string, error) { return []string{"*"}, nil }

func (c *common) LogSetLevel(_ context.Context, system, level string) error {
	if system != "*" {
		return &api.ErrNotFound{What: "log system " + system, Hint: `the only one is "*"`}
	}
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return &api.ErrInvalid{What: "log level " + level, Reason: "unknown", Hint: "use debug, info, warn or error"}
	}
	c.level.Set(l)
	return nil
}

// Shutdown begins a graceful stop and returns at once.
func (c *common) Shutdown(context.Context) error {
	c.stop()
	return nil
}

func (c *common) NodeStatus(context.Context) (api.NodeStatus, error) {
	s := api.NodeStatus{Subsystems: c.subsystems, Miner: c.miner, StartedAt: c.started, Messages: c.stuck()}
	for i, p := range c.peers {
		if i == 0 {
			s.Chain = p.status()
			continue
		}
		s.Peers = append(s.Peers, p.status())
	}
	return s, nil
}

// peerWatch remembers whether another process answers.
type peerWatch struct {
	name  string
	ask   func(ctx context.Context) (api.VersionInfo, error)
	log   *slog.Logger
	every time.Duration

	mu   sync.Mutex
	last api.PeerStatus
}

func newPeerWatch(name string, every time.Duration, log *slog.Logger, ask func(ctx context.Context) (api.VersionInfo, error)) *peerWatch {
	if every <= 0 {
		every = 5 * time.Second
	}
	return &peerWatch{name: name, ask: ask, log: log, every: every,
		last: api.PeerStatus{Name: name, Since: time.Now(), LastError: "not asked yet"}}
}

func (p *peerWatch) status() api.PeerStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// run asks until ctx ends. A peer that is down is told once, and once when it
// is back: degraded is a state, not a stream of lines.
func (p *peerWatch) run(ctx context.Context) error {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for {
		p.once(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (p *peerWatch) once(ctx context.Context) {
	ask, cancel := context.WithTimeout(ctx, p.every)
	defer cancel()
	v, err := p.ask(ask)
	if ctx.Err() != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	up := err == nil
	if up != p.last.Reachable || p.last.LastError == "not asked yet" {
		p.last.Since = time.Now()
		if up {
			p.log.Info("peer reachable", "peer", p.name, "version", v.Version)
		} else {
			p.log.Warn("peer unreachable, working degraded until it is back", "peer", p.name, "error", err)
		}
	}
	p.last.Reachable, p.last.Version, p.last.LastError = up, v.Version, ""
	if err != nil {
		p.last.LastError = err.Error()
	}
}

func newSession() api.UUID { return uuid.New() }
