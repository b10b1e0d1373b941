package node

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"quarry/api"
	"quarry/build"
	"quarry/chain/msgs"
	"quarry/internal/holder"
	"quarry/internal/lifecycle"
	"quarry/node/serve"
)

// Tokens issues and checks API tokens; the repo implements it.
type Tokens interface {
	Verify(ctx context.Context, token string) ([]api.Permission, error)
	Create(ctx context.Context, req api.TokenRequest) (string, error)
	New(ctx context.Context, perms []api.Permission) (string, error)
	List() []api.TokenInfo
	Revoke(ctx context.Context, id string) error
	Rotate(ctx context.Context, oldValidFor time.Duration) (api.TokenRotation, error)
}

// common implements api.Common for a miner process.
type common struct {
	session    api.UUID
	started    time.Time
	subsystems []api.Subsystem
	tokens     Tokens
	level      *slog.LevelVar
	stop       context.CancelFunc
	callers    *holder.Register // markets nodes that introduced themselves
	parts      func() []lifecycle.Status
	link       func() api.LinkStatus // nil: not in pull mode

	notices notices
	heard   heard

	mu      sync.Mutex
	self    api.Introduction
	address string       // URL under which others reach this process
	peers   []*peerWatch // the first is the full node
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
			out = append(out, api.MessageStatus{
				Key:    m.Key,
				Cid:    m.CID,
				From:   m.From.String(),
				Nonce:  m.Nonce,
				Reason: m.Reason,
			})
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

func (c *common) AuthRotate(ctx context.Context, oldValidSeconds int64) (api.TokenRotation, error) {
	oldValidFor, err := seconds(oldValidSeconds)
	if err != nil {
		return api.TokenRotation{}, err
	}
	return c.tokens.Rotate(ctx, oldValidFor)
}

// seconds is a duration that does not overflow.
func seconds(n int64) (time.Duration, error) {
	if n < 0 || n > math.MaxInt64/int64(time.Second) {
		return 0, &api.ErrInvalid{What: "how long old tokens stay valid", Reason: fmt.Sprintf("%d seconds are out of range", n)}
	}
	return time.Duration(n) * time.Second, nil
}

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

func (c *common) setPeers(list []*peerWatch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peers = slices.Clone(list)
}

// NodeStatus tells the operator everything, and a peer that nothing here is its
// business why a part does not run.
func (c *common) NodeStatus(ctx context.Context) (api.NodeStatus, error) {
	s := api.NodeStatus{
		Subsystems: c.subsystems,
		Miner:      c.identity().Miner,
		StartedAt:  c.started,
		Parts:      c.partStatus(ctx),
		Messages:   c.stuck(),
	}
	if c.link != nil {
		link := c.link()
		s.Link = &link
	}
	if !isPeer(serve.Permissions(ctx)) {
		s.Notices, s.Callers = c.notices.all(), c.heard.status(c.callers.Silence())
	}
	c.mu.Lock()
	peers := c.peers
	s.Address = c.address
	c.mu.Unlock()
	for i, p := range peers {
		if i == 0 {
			s.Chain = p.status()
			continue
		}
		s.Peers = append(s.Peers, p.status())
	}
	return s, nil
}

func (c *common) partStatus(ctx context.Context) []api.PartStatus {
	peer := isPeer(serve.Permissions(ctx))
	out := []api.PartStatus{}
	for _, p := range c.parts() {
		st := api.PartStatus{
			Name:     p.Name,
			Up:       p.Up,
			Since:    p.Since,
			Restarts: p.Restarts,
			Next:     p.Next,
		}
		switch {
		case p.Err != nil && peer:
			st.Error = "see info and the log of that node"
		case p.Err != nil:
			st.Error = p.Err.Error()
		}
		out = append(out, st)
	}
	return out
}

// isPeer tells a process from its operator.
func isPeer(perms []api.Permission) bool {
	return !slices.Contains(perms, api.PermWrite) && (slices.Contains(perms, api.PermSealingPeer) || slices.Contains(perms, api.PermWorker))
}

func newSession() api.UUID { return uuid.New() }
