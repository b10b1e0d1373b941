package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"quarry/api"
	"quarry/api/client"
	"quarry/internal/printable"
)

// Times of asking peers.
const (
	defaultPoll = 5 * time.Second
	askLimit    = 5 * time.Second // of one comparison
	minSilence  = 2 * time.Second
)

func tokenRefused(err error) bool { return client.IsTokenRefused(err) }

// answer is what a comparison found.
type answer struct {
	version  string
	warning  string
	instance string // that calls are pinned to; empty where the peer knows no such thing
}

// peerState is what is known of a peer.
type peerState int

const (
	peerUnknown peerState = iota // not compared, or replaced since
	peerAway
	peerRight
	peerWrong
)

// peerWatch remembers whether another process answers and is the one it should
// be. It is the gate before every call to it: nothing is sent to a peer that was
// not compared since it was last away, or that is wrong.
type peerWatch struct {
	name  string
	check func(ctx context.Context) (answer, error) // *wrongPeer: it is wrong
	open  map[string]bool                           // methods that check itself calls
	log   *slog.Logger
	every time.Duration

	asking chan struct{} // holds one: a comparison at a time

	mu       sync.Mutex
	state    peerState
	rounds   uint64 // comparisons made
	instance string
	away     *api.ErrUnreachable // why, where the last comparison said so
	last     api.PeerStatus
}

func newPeerWatch(name string, every time.Duration, log *slog.Logger, open ...string) *peerWatch {
	if every <= 0 {
		every = defaultPoll
	}
	p := &peerWatch{
		name:   name,
		log:    log,
		every:  every,
		open:   map[string]bool{},
		asking: make(chan struct{}, 1),
		last:   api.PeerStatus{Name: name, Since: time.Now(), LastError: notAsked},
	}
	for _, m := range open {
		p.open[m] = true
	}
	return p
}

const notAsked = "not asked yet"

func (p *peerWatch) status() api.PeerStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// run asks until ctx ends. A peer that is down or wrong is told once, and once
// when it is right again: degraded is a state, not a stream of lines.
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

// once compares, or waits for the comparison that is under way.
func (p *peerWatch) once(ctx context.Context) {
	p.mu.Lock()
	before := p.rounds
	p.mu.Unlock()
	select {
	case p.asking <- struct{}{}:
		defer func() { <-p.asking }()
	case <-ctx.Done():
		return
	}
	p.mu.Lock()
	done := p.rounds > before+1 // one that began after this call did
	p.mu.Unlock()
	if done {
		return
	}
	ask, cancel := context.WithTimeout(ctx, max(p.every, askLimit))
	defer cancel()
	a, err := p.check(ask)
	if ctx.Err() != nil && err != nil {
		return // the asker is gone, which says nothing of the peer
	}
	p.note(a, err)
}

// note takes the outcome of a comparison.
func (p *peerWatch) note(a answer, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rounds++
	state := peerRight
	var wrong *wrongPeer
	switch {
	case errors.As(err, &wrong):
		state = peerWrong
	case err != nil:
		state = peerAway
	}
	if first := p.last.LastError == notAsked; first || p.last.Reachable != (state == peerRight) ||
		(p.state == peerWrong) != (state == peerWrong) {
		p.last.Since = time.Now()
		p.tell(state, a, err)
	}
	p.state, p.instance, p.away = state, a.instance, nil
	errors.As(err, &p.away)
	p.last.Reachable, p.last.Version = state == peerRight, a.version
	p.last.Warning, p.last.LastError = a.warning, ""
	if err != nil {
		p.last.LastError = err.Error()
	}
}

func (p *peerWatch) tell(state peerState, a answer, err error) {
	switch state {
	case peerRight:
		p.log.Info("peer reachable", "peer", p.name, "version", a.version)
		if a.warning != "" {
			p.log.Warn("peer reachable, but", "peer", p.name, "warning", a.warning)
		}
	case peerWrong:
		p.log.Error("peer is not the one it should be, nothing is sent to it", "peer", p.name, "error", err)
	default:
		p.log.Warn("peer unreachable, working degraded until it is back", "peer", p.name, "error", err)
	}
}

// Allow implements client.Gate.
func (p *peerWatch) Allow(ctx context.Context, m api.Method) (string, error) {
	if p.open[m.Name] {
		return "", nil
	}
	p.mu.Lock()
	compared := p.state == peerRight || p.state == peerWrong
	p.mu.Unlock()
	if !compared {
		p.once(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.state == peerRight:
		return p.instance, nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case p.away != nil:
		return "", p.away
	}
	return "", &api.ErrUnreachable{Peer: "the " + p.name, Reason: p.last.LastError}
}

// Replaced implements client.Gate.
func (p *peerWatch) Replaced(instance string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.instance == instance && p.state == peerRight {
		p.state = peerUnknown
	}
}

// wrong is why the peer is refused, nil where it is not.
func (p *peerWatch) wrong() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != peerWrong {
		return nil
	}
	return fmt.Errorf("%s: %s", p.name, p.last.LastError)
}

// half is another process of this miner that does what does not run here.
type half struct {
	*client.MinerAPI
	watch *peerWatch
	repo  uuid.UUID // of the process, while it is right
}

// dialHalf makes the client of a half. It may be down now and later.
func (n *Node) dialHalf(ctx context.Context, name string, sub api.Subsystem, info string) (*half, error) {
	if info == "" && n.accepts == nil {
		return nil, fmt.Errorf("%s runs elsewhere but its API info is not in the config", name)
	}
	h := &half{watch: newPeerWatch(name+" node", n.set.PeerPoll, n.log, "Handshake", "Version")}
	h.watch.last.Name = name
	cfg := client.Config{Info: info, Name: "the " + name + " node", Gate: h.watch, Log: n.log}
	if n.accepts != nil {
		cfg.Carrier = n.accepts
	}
	p, err := client.Miner(ctx, cfg)
	if err != nil {
		return nil, err
	}
	n.onClose("client of the "+name+" node", func() error { p.Close(); return nil })
	h.MinerAPI = p
	h.watch.check = func(ctx context.Context) (answer, error) { return n.meetHalf(ctx, h, name, sub) }
	n.peers, n.halves = append(n.peers, h.watch), append(n.halves, h)
	n.common.setPeers(n.peers)
	return h, nil
}

// peerPerms is what a markets node needs of the private node.
func peerPerms() []api.Permission {
	perms, _ := api.RolePermissions(api.RoleMarketsPeer)
	return perms
}

func (n *Node) meetHalf(ctx context.Context, h *half, name string, sub api.Subsystem) (answer, error) {
	me := n.common.introduction()
	want := peerNeeds{me: me.Identity, name: name, sub: sub, perms: peerPerms()}
	got, warning, err := want.meet(ctx, h.MinerAPI, me)
	if err == nil {
		err = n.oneNode(h, got.Repo)
	}
	n.halvesMu.Lock()
	defer n.halvesMu.Unlock()
	if err != nil {
		h.repo = uuid.Nil
		return answer{}, err
	}
	h.repo = got.Repo
	a := answer{warning: warning, instance: got.Instance.String()}
	if v, err := h.Version(ctx); err == nil {
		a.version = printable.Brief(v.Version)
	}
	return a, nil
}

// oneNode requires that what does not run here runs in one other process.
func (n *Node) oneNode(h *half, repo uuid.UUID) error {
	n.halvesMu.Lock()
	defer n.halvesMu.Unlock()
	for _, other := range n.halves {
		if other != h && other.repo != uuid.Nil && other.repo != repo {
			return wrongf("it is another node of miner %s than the %s; name one private node in both keys", n.maddr, other.watch.name)
		}
	}
	return nil
}

// meetHalves finds the other halves and refuses to start with one that answers
// and is wrong. One that does not answer is waited for while this process works.
// Meanwhile this process answers who it is: its own address may have been named.
func (n *Node) meetHalves(ctx context.Context) (err error) {
	for _, h := range []struct {
		here bool
		to   **half
		name string
		sub  api.Subsystem
		info string
	}{
		{n.set.Sealing, &n.sealer, "sealing", api.SubsystemSealing, n.set.SealerInfo},
		{n.set.SectorStorage, &n.store, "sector storage", api.SubsystemSectorStorage, n.set.SectorIndexInfo},
	} {
		if h.here {
			continue
		}
		if *h.to, err = n.dialHalf(ctx, h.name, h.sub, h.info); err != nil {
			return err
		}
	}
	if len(n.halves) == 0 || n.accepts != nil { // the link is opened to this process, once it serves
		return nil
	}
	early, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() {
		served <- n.srv.RunEarly(early, n.common, errors.New("this process has not met the other half yet"))
	}()
	var wrong []error
	for _, h := range n.halves {
		h.watch.once(ctx)
		wrong = append(wrong, h.watch.wrong())
	}
	stop()
	return errors.Join(append(wrong, <-served)...)
}
