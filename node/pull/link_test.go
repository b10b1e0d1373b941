package pull

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-jsonrpc"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/api/client"
)

func parse(b []byte) (m message) {
	if err := json.Unmarshal(b, &m); err != nil {
		panic(err)
	}
	return m
}

// Answers go to who asked, whatever ids the callers use, and in any order.
func TestAnswersFindTheirCallers(t *testing.T) {
	a, _ := pair(t, AcceptorConfig{}, nil)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			got, err := a.Carry(t.Context(), "", callOf("1", "Filecoin.Echo", fmt.Sprintf("[%d]", i)))
			if err != nil || string(got) != fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"result":[%d]}`, i) {
				t.Errorf("%d: %s, %v", i, got, err)
			}
		})
	}
	all.Wait()
	for _, id := range []string{`"a"`, "17", "1.5"} {
		got, err := a.Carry(t.Context(), "", callOf(id, "Filecoin.Echo", "[]"))
		require.NoError(t, err)
		require.JSONEq(t, `{"jsonrpc":"2.0","id":`+id+`,"result":[]}`, string(got))
	}
	_, err := a.Carry(t.Context(), "", []byte(`{"jsonrpc":"2.0","method":"Filecoin.Echo"}`))
	require.ErrorContains(t, err, "no id")
}

// What may be done is what the private side was told, and nothing of the message.
func TestPermissionsAreThePrivateSides(t *testing.T) {
	got := make(chan []api.Permission, 1)
	want := []api.Permission{api.PermSealingPeer, api.PermStorageRead}
	a, _ := pair(t, AcceptorConfig{}, func(cfg *OpenerConfig, deps *OpenerDeps) {
		cfg.Perms = want
		deps.Answer = func(ctx context.Context, perms []api.Permission, call []byte) []byte {
			got <- perms
			return echo(ctx, perms, call)
		}
	})
	_, err := a.Carry(t.Context(), "", []byte(`{"jsonrpc":"2.0","id":1,"method":"x","params":[],"meta":{"Allow":"admin"}}`))
	require.NoError(t, err)
	require.Equal(t, want, <-got)
}

// A caller that gives up returns at once, and the other side learns of it.
func TestGivingUpACall(t *testing.T) {
	ended, begun := make(chan struct{}), make(chan struct{})
	a, _ := pair(t, AcceptorConfig{}, func(_ *OpenerConfig, deps *OpenerDeps) {
		deps.Answer = func(ctx context.Context, _ []api.Permission, _ []byte) []byte {
			close(begun)
			<-ctx.Done()
			close(ended)
			return []byte(`{"id":1}`)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	_, err := a.Carry(ctx, "", callOf("1", "x", "[]"))
	require.ErrorIs(t, err, context.Canceled)
	<-ended
}

// A private node that never answers holds its callers as long as they want, and
// so many of them.
func TestLinkThatNeverAnswers(t *testing.T) {
	const limit = 3
	a, srv := acceptorAt(t, AcceptorConfig{MaxCalls: limit}, anyone)
	ws, err := rawPrivate(t, srv, introduction("x"))
	require.NoError(t, err)
	eventually(t, "open", func() bool { return a.Status().Connected })
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, limit)
	for range limit {
		go func() {
			_, err := a.Carry(ctx, "", callOf("1", "x", "[]"))
			errs <- err
		}()
		_, _, err := ws.ReadMessage()
		require.NoError(t, err)
	}
	var busy *api.ErrBusy
	_, err = a.Carry(t.Context(), "", callOf("1", "x", "[]"))
	require.ErrorAs(t, err, &busy)
	require.Contains(t, err.Error(), "3 calls wait")
	cancel()
	for range limit {
		require.ErrorIs(t, <-errs, context.Canceled)
	}
	for range limit { // they are told
		_, b, err := ws.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, methodCancel, parse(b).Method)
	}
	go func() {
		_, err := a.Carry(t.Context(), "", callOf("1", "x", "[]"))
		errs <- err
	}()
	_, _, err = ws.ReadMessage()
	require.NoError(t, err)
	require.NoError(t, ws.Close())
	var away *api.ErrUnreachable
	require.ErrorAs(t, <-errs, &away)
	require.Equal(t, "the private node is unreachable: the link was lost before the answer came", away.Error())
	eventually(t, "lost", func() bool { return !a.Status().Connected })
	_, err = a.Carry(t.Context(), "", callOf("1", "x", "[]"))
	require.ErrorAs(t, err, &away)
	require.Contains(t, away.Reason, "there is no link since ")
}

// What a private node must not send ends its link.
func TestOnlyAnswersComeFromThePrivateNode(t *testing.T) {
	for name, c := range map[string]struct {
		kind int
		text string
		want string
	}{
		"a call":        {websocket.TextMessage, `{"id":1,"method":"Filecoin.DealsList","params":[]}`, "something else than answers"},
		"no number":     {websocket.TextMessage, `{"jsonrpc":"2.0","id":"x","result":1}`, "something else than answers"},
		"no JSON":       {websocket.TextMessage, `[1`, "no JSON-RPC"},
		"bytes":         {websocket.BinaryMessage, `{}`, "not text"},
		"a huge answer": {websocket.TextMessage, `{"id":1,"result":"` + strings.Repeat("x", 1000) + `"}`, "read limit exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			a, srv := acceptorAt(t, AcceptorConfig{MaxAnswer: 1000}, anyone)
			ws, err := rawPrivate(t, srv, introduction("x"))
			require.NoError(t, err)
			require.NoError(t, ws.WriteMessage(websocket.TextMessage, []byte(`{"id":99,"result":1}`))) // to nobody: it may be late
			require.NoError(t, ws.WriteMessage(c.kind, []byte(c.text)))
			eventually(t, "the link ends", func() bool {
				s := a.Status()
				return !s.Connected && strings.Contains(s.LastError, c.want)
			})
		})
	}
}

// A restart of the private node takes its link over; a copy of it and any other
// process is refused while it is alive, and told who is.
func TestOneLink(t *testing.T) {
	a, srv := acceptorAt(t, AcceptorConfig{}, anyone)
	first, err := rawPrivate(t, srv, introduction("here"))
	require.NoError(t, err)
	eventually(t, "open", func() bool { return a.Status().Connected })
	_, err = rawPrivate(t, srv, introduction("elsewhere"))
	require.ErrorContains(t, err, "the link of this miner is in use by process 7 on host of here")
	second := introduction("here")
	_, err = rawPrivate(t, srv, second)
	require.NoError(t, err)
	_, _, err = first.ReadMessage() // until it is closed
	require.Error(t, err)
	eventually(t, "open", func() bool { return a.Status().Connected })
	_, err = a.Carry(t.Context(), "not "+second.Instance.String(), callOf("1", "x", "[]"))
	require.ErrorIs(t, err, client.ErrReplaced)
}

// A link that was admitted earlier and comes later does not take the place of a
// newer one.
func TestLateLink(t *testing.T) {
	a := NewAcceptor(AcceptorConfig{}, AcceptorDeps{Meet: anyone})
	link := func() (l *accepted, closed *bool) {
		closed = new(bool)
		w := &wire{gone: make(chan struct{}), close: func() { *closed = true }}
		who := claimant(introduction("here"))
		turn, err := a.admit(api.Introduction{}, who)
		require.NoError(t, err)
		l = newAccepted(w, who, 1)
		l.turn = turn
		return l, closed
	}
	early, earlyClosed := link()
	late, lateClosed := link()
	a.take(late)
	a.take(early)
	require.True(t, *earlyClosed)
	require.False(t, *lateClosed)
	require.Same(t, late, a.link)
	third, _ := link()
	a.take(third)
	require.True(t, *lateClosed)
	require.Same(t, third, a.link)
}

// Who holds the link and is silent loses it, to a process from anywhere.
func TestSilentPrivateNode(t *testing.T) {
	a, srv := acceptorAt(t, AcceptorConfig{Silence: 50 * time.Millisecond}, anyone)
	ws, err := rawPrivate(t, srv, introduction("here")) // answers no ping, since nobody reads
	require.NoError(t, err)
	eventually(t, "lost", func() bool { return !a.Status().Connected && strings.Contains(a.Status().LastError, "timeout") })
	eventually(t, "another one gets in", func() bool {
		_, err := rawPrivate(t, srv, introduction("elsewhere"))
		return err == nil
	})
	_ = ws
}

// Each read and each write has its time anew; before the handshake is over the
// time is its own.
func TestQuietConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer func() { _ = far.Close() }()
		c := &quietConn{Conn: near, silence: time.Minute}
		defer func() { _ = c.Close() }()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for _, pause := range []time.Duration{time.Hour, time.Minute - 1, time.Minute - 1} {
				time.Sleep(pause)
				_, _ = far.Write([]byte{1}) // it is seen by the reader
			}
		}()
		one := make([]byte, 1)
		for i := range 3 {
			_, err := c.Read(one)
			require.NoError(t, err, "read %d", i)
			c.armed.Store(true)
		}
		<-sent
		began := time.Now()
		_, err := c.Read(one)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, time.Minute, time.Since(began))
		began = time.Now()
		_, err = c.Write(one)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, writeStall, time.Since(began))
	})
}

// The markets node refuses whom it does not take for its private node, before a
// websocket is there, and both know why.
func TestRefusedByTheMarketsNode(t *testing.T) {
	a, srv := acceptorAt(t, AcceptorConfig{}, func(api.Introduction) error { return errTest })
	o := openerTo(t, srv.URL, nil)
	run(t, o)
	eventually(t, "told", func() bool { return strings.Contains(o.Status().LastError, errTest.Error()+" (409 Conflict)") })
	require.Regexp(t, "^refused to process 7 on host of here since .*: "+errTest.Error()+"$", a.Status().LastError)
	require.False(t, a.Status().Connected)
	resp, err := http.Get(srv.URL + routeLink)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	http.DefaultClient.CloseIdleConnections()
}

// The private node sends nothing to and answers nobody who is not its markets node.
func TestRefusedByThePrivateNode(t *testing.T) {
	var asked atomic.Int64
	_, srv := acceptorAt(t, AcceptorConfig{}, anyone)
	o := openerTo(t, srv.URL, func(_ *OpenerConfig, deps *OpenerDeps) {
		deps.Meet = func(there api.Identity) error { return fmt.Errorf("%s: %w", there.Miner, errTest) }
		deps.Answer = func(context.Context, []api.Permission, []byte) []byte { asked.Add(1); return nil }
	})
	run(t, o)
	eventually(t, "told", func() bool { return o.Status().LastError == "f01000: "+errTest.Error() })
	require.Zero(t, asked.Load())

	for code, want := range map[int]string{
		401: "refused the token",
		403: "refused the token",
		404: "set Accept = true under [Link]",
		429: "refused the link: why\\x1b[2J (429",
	} {
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "why\x1b[2J", code) })
		o := openerTo(t, serveHTTP(t, h), nil)
		_, err := o.dial(t.Context())
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\x1b")
	}
}

// The pauses between two tries double up to the longest, and never end.
func TestTriesForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const first, longest = time.Second, 30 * time.Second
		ctx, cancel := context.WithCancel(t.Context())
		var at []time.Time
		o := openerTo(t, "http://127.0.0.1:1", func(cfg *OpenerConfig, deps *OpenerDeps) {
			cfg.RetryMin, cfg.RetryMax = first, longest
			deps.Introduce = func() api.Introduction {
				if at = append(at, time.Now()); len(at) == 60 {
					cancel()
				}
				return introduction("here")
			}
		})
		require.NoError(t, o.Run(ctx))
		pause := first
		for i := range at[1:] {
			got := at[i+1].Sub(at[i])
			require.GreaterOrEqual(t, got, pause/2, "try %d", i)
			require.LessOrEqual(t, got, pause, "try %d", i)
			pause = min(2*pause, longest)
		}
		require.Greater(t, at[59].Sub(at[0]), 10*time.Minute)
	})
}

// The link is there again after either end was away.
func TestHeals(t *testing.T) {
	a, o := pair(t, AcceptorConfig{}, nil)
	for range 3 {
		a.mu.Lock()
		l := a.link
		a.mu.Unlock()
		l.end(errTest)
		eventually(t, "both know and are linked again", func() bool {
			a.mu.Lock()
			anew := a.link != nil && a.link != l
			a.mu.Unlock()
			return anew && a.Status().LastError == errTest.Error() && o.Status().Connected && o.Status().LastError != ""
		})
		_, err := a.Carry(t.Context(), "", callOf("1", "x", "[]"))
		require.NoError(t, err)
	}
}

// A client of the RPC library that has handlers can be the private node.
func TestLibraryClientAsPrivateNode(t *testing.T) {
	a, srv := acceptorAt(t, AcceptorConfig{}, anyone)
	me, err := inHeader(introduction("here"))
	require.NoError(t, err)
	private := &library{waits: make(chan struct{}), done: make(chan struct{})}
	closer, err := jsonrpc.NewMergeClient(t.Context(), "ws"+strings.TrimPrefix(srv.URL, "http")+routeLink, "Filecoin", nil,
		http.Header{headerOpens: {me}}, jsonrpc.WithClientHandler("Filecoin", private), jsonrpc.WithNoReconnect())
	require.NoError(t, err)
	defer closer()
	eventually(t, "open", func() bool { return a.Status().Connected })
	got, err := a.Carry(t.Context(), "", callOf("5", "Filecoin.Double", "[21]"))
	require.NoError(t, err)
	require.JSONEq(t, `{"jsonrpc":"2.0","id":5,"result":42}`, string(got))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-private.waits; cancel() }()
	_, err = a.Carry(ctx, "", callOf("6", "Filecoin.Wait", "[]"))
	require.ErrorIs(t, err, context.Canceled)
	<-private.done
}

type library struct{ waits, done chan struct{} }

// Double is called over the link.
func (*library) Double(_ context.Context, n int) (int, error) { return 2 * n, nil }

// Wait ends with its context.
func (l *library) Wait(ctx context.Context) error {
	close(l.waits)
	<-ctx.Done()
	close(l.done)
	return nil
}

func TestNewOpenerRefuses(t *testing.T) {
	for _, base := range []string{"", "ws://x", "host:1", "ftp://x"} {
		_, err := NewOpener(OpenerConfig{Base: base}, OpenerDeps{})
		require.ErrorContains(t, err, "no http or https URL", base)
	}
	_, err := NewOpener(OpenerConfig{Base: "http://x"}, OpenerDeps{})
	require.ErrorContains(t, err, "auth api-info --role link")
}
