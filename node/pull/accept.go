package pull

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"quarry/api"
	"quarry/api/client"
	"quarry/internal/holder"
)

// AcceptorConfig of an Acceptor. Zero values mean the defaults stated.
type AcceptorConfig struct {
	Silence   time.Duration // without a sign of life from the private node: the link is lost; 35 s
	MaxCalls  int           // that wait for an answer at once; 1024
	MaxAnswer int64         // bytes of one; 64 MiB
	PushWait  time.Duration // how long a one-time place is kept for bytes that do not come; 1 min
}

// AcceptorDeps of an Acceptor.
type AcceptorDeps struct {
	// Identity of this process, for the one that opens the link.
	Identity func() api.Identity
	// Meet says why the process that opens the link is not the private node of this
	// one, nil where it is.
	Meet func(api.Introduction) error
	Log  *slog.Logger
}

// Acceptor is the markets node's end: it takes the one link of its private node,
// brings calls over it and receives the bytes that are pushed. It implements
// client.Carrier.
type Acceptor struct {
	cfg    AcceptorConfig
	deps   AcceptorDeps
	owners *holder.Register
	places *places

	mu      sync.Mutex
	link    *accepted // nil: none
	status  api.LinkStatus
	refusal string // the last one
	turns   uint64 // of links that were admitted
}

var _ client.Carrier = (*Acceptor)(nil)

// identity under which the opener of the link is remembered.
const identity = "link"

// NewAcceptor makes one without a link.
func NewAcceptor(cfg AcceptorConfig, deps AcceptorDeps) *Acceptor {
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Silence <= 0 {
		cfg.Silence = defaultSilence
	}
	if cfg.MaxCalls <= 0 {
		cfg.MaxCalls = 1024
	}
	if cfg.MaxAnswer <= 0 {
		cfg.MaxAnswer = defaultMaxAnswer
	}
	if cfg.PushWait <= 0 {
		cfg.PushWait = time.Minute
	}
	return &Acceptor{
		cfg:    cfg,
		deps:   deps,
		owners: holder.NewRegister(holder.RegisterConfig{Silence: cfg.Silence}),
		places: newPlaces(cfg.PushWait),
		status: api.LinkStatus{Since: time.Now(), LastError: notOpened},
	}
}

// Handle tells where the routes of the link are registered, such as by
// serve.Server.Handle; all of them need the permission link.
func (a *Acceptor) Handle(route func(pattern string, perm api.Permission, h http.Handler)) {
	route("GET "+routeLink, api.PermLink, http.HandlerFunc(a.accept))
	route("PUT "+routePush+"{id}", api.PermLink, http.HandlerFunc(a.places.receive))
}

// Status tells how the link stands.
func (a *Acceptor) Status() api.LinkStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status
}

// accept serves one link until it is lost.
func (a *Acceptor) accept(w http.ResponseWriter, r *http.Request) {
	var in api.Introduction
	if err := fromHeader(r.Header.Get(headerOpens), &in); err != nil {
		http.Error(w, "the link is opened by a private node: "+err.Error(), http.StatusBadRequest)
		return
	}
	who := claimant(in)
	turn, err := a.admit(in, who)
	if err != nil {
		a.refused(who, r.RemoteAddr, err)
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	me, err := inHeader(a.deps.Identity())
	if err != nil {
		http.Error(w, "this process cannot say who it is", http.StatusInternalServerError)
		return
	}
	up := &hijacker{ResponseWriter: w, silence: a.cfg.Silence}
	ws, err := upgrader.Upgrade(up, r, http.Header{headerAccepts: {me}})
	if err != nil {
		return // it has been answered
	}
	l := newAccepted(newWire(ws, up.conn, a.cfg.MaxAnswer), who, a.cfg.MaxCalls)
	l.turn = turn
	a.take(l)
	err = l.run(r.Context(), a.cfg.Silence/pingsPerSilence, func() error { return a.owners.Claim(identity, who) })
	a.drop(l, err)
}

// claimant is the process that opens a link, as the register of identities knows it.
func claimant(in api.Introduction) holder.Claimant {
	return holder.Claimant{
		Holder:   holder.Holder{PID: in.PID, Host: in.Host, Since: in.Started},
		Instance: in.Instance,
		Place:    in.Place,
	}
}

// upgrader has a read buffer of its own, so that it reads through quietConn.
var upgrader = websocket.Upgrader{
	HandshakeTimeout: handshakeTime,
	ReadBufferSize:   frameBuffer,
	WriteBufferSize:  frameBuffer,
	CheckOrigin:      func(r *http.Request) bool { return r.Header.Get("Origin") == "" }, // no page opens a link
}

// hijacker gives the websocket its connection under a quietConn.
type hijacker struct {
	http.ResponseWriter
	silence time.Duration
	conn    *quietConn
}

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn = &quietConn{Conn: conn, silence: h.silence}
	return h.conn, rw, nil
}

// admit decides whether a process may open the link: it must be the private node
// of this one, and the only one. A restart of the one that holds the link takes
// its place at once, anybody else when it was silent. Of two that may, the one with
// the later turn stays.
func (a *Acceptor) admit(in api.Introduction, who holder.Claimant) (turn uint64, err error) {
	if err := a.deps.Meet(in); err != nil {
		return 0, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	err = a.owners.Claim(identity, who)
	var held *holder.ErrHeld
	if errors.As(err, &held) {
		return 0, &api.ErrInUse{What: "the link of this miner", Holder: held.Holder,
			Hint: fmt.Sprintf("a miner has one private node: stop one of the two; it is forgotten when it was silent for %s",
				a.cfg.Silence)}
	}
	a.turns++
	return a.turns, err
}

// refused notes why a link was not taken; it is tried again and again, and told
// once. Where there is no link it is what is wrong.
func (a *Acceptor) refused(who holder.Claimant, from string, err error) {
	a.mu.Lock()
	same := a.refusal == err.Error()
	a.refusal = err.Error()
	if !a.status.Connected {
		a.status.LastError = "refused to " + who.String() + ": " + err.Error()
	}
	a.mu.Unlock()
	if !same {
		a.deps.Log.Warn("a link is refused", "to", who.String(), "remote", from, "error", err)
	}
}

// take makes l the link; the one before it ends. A later one may have come first.
func (a *Acceptor) take(l *accepted) {
	a.mu.Lock()
	before := a.link
	if before != nil && before.turn > l.turn {
		a.mu.Unlock()
		l.end(fmt.Errorf("replaced by a newer link of %s", before.who.String()))
		return
	}
	a.link, a.refusal = l, ""
	a.status.Peer = l.who.String()
	a.status = opened(a.status)
	a.mu.Unlock()
	if before != nil {
		before.end(fmt.Errorf("replaced by a new link of %s", l.who.String()))
	}
	a.deps.Log.Info("the private node has opened the link", "from", l.who.String(), "replaces another", before != nil)
}

func (a *Acceptor) drop(l *accepted, why error) {
	a.mu.Lock()
	last := a.link == l
	if last {
		a.link = nil
		a.status.Connected, a.status.Since, a.status.LastError = false, time.Now(), why.Error()
	}
	a.mu.Unlock()
	a.deps.Log.Warn("the link of the private node is lost", "of", l.who.String(), "error", why, "there is another", !last)
}

// Carry implements client.Carrier.
func (a *Acceptor) Carry(ctx context.Context, instance string, call []byte) ([]byte, error) {
	a.mu.Lock()
	l, status := a.link, a.status
	a.mu.Unlock()
	switch {
	case l == nil:
		return nil, &api.ErrUnreachable{Peer: peerName, Reason: fmt.Sprintf("there is no link since %s: %s",
			status.Since.UTC().Format(time.RFC3339), status.LastError)}
	case instance != "" && instance != l.who.Instance.String():
		return nil, client.ErrReplaced
	}
	return l.call(ctx, call)
}

const peerName = "the private node"
