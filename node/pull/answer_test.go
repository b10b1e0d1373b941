package pull

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

func serveHTTP(t *testing.T, h http.Handler) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// hostile gives the connection of a host that says what the test wants.
func hostile(t *testing.T, change func(*OpenerConfig, *OpenerDeps)) (chan *websocket.Conn, *Opener) {
	t.Helper()
	conns, end := make(chan *websocket.Conn), make(chan struct{})
	base := rawMarkets(t, func(ws *websocket.Conn) {
		select {
		case conns <- ws:
			<-end
		case <-end:
		}
	})
	o := openerTo(t, base, change)
	stop := run(t, o)
	t.Cleanup(func() { close(end); stop() })
	return conns, o
}

func say(t *testing.T, ws *websocket.Conn, text string) {
	t.Helper()
	require.NoError(t, ws.WriteMessage(websocket.TextMessage, []byte(text)))
}

type failed struct {
	ID    json.RawMessage
	Error struct {
		Code    int
		Message string
	}
}

func hear(t *testing.T, ws *websocket.Conn) (f failed) {
	t.Helper()
	_, b, err := ws.ReadMessage()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &f), "%s", b)
	return f
}

// A message as large as is allowed is answered; one byte more ends the link before
// it is read, and the private node comes again.
func TestHugeFrames(t *testing.T) {
	const limit = 1000
	conns, _ := hostile(t, func(cfg *OpenerConfig, _ *OpenerDeps) { cfg.MaxCall = limit })
	ws := <-conns
	frame := `{"jsonrpc":"2.0","id":1,"method":"x","params":["%s"]}`
	largest := fmt.Sprintf(frame, strings.Repeat("x", limit-len(frame)+2))
	require.Len(t, largest, limit)
	say(t, ws, largest)
	require.Zero(t, hear(t, ws).Error.Code)
	say(t, ws, largest+" ")
	_, _, err := ws.ReadMessage()
	require.Error(t, err)
	ws = <-conns
	// Announced and never sent: nothing is kept ready for it.
	_, err = ws.UnderlyingConn().Write([]byte{0x81, 127, 0, 0, 0, 1, 0, 0, 0, 0})
	require.NoError(t, err)
	_, _, err = ws.ReadMessage()
	require.Error(t, err)
	say(t, <-conns, largest)
}

// A flood is answered as far as the limits go; the rest is refused, call by call.
func TestFloodOfCalls(t *testing.T) {
	const calls, limit = 5, 1000
	hold := make(chan struct{})
	var running sync.WaitGroup
	conns, _ := hostile(t, func(cfg *OpenerConfig, deps *OpenerDeps) {
		cfg.Calls, cfg.MaxCall = calls, limit
		deps.Answer = func(ctx context.Context, p []api.Permission, call []byte) []byte {
			running.Done()
			<-hold
			return echo(ctx, p, call)
		}
	})
	ws := <-conns
	running.Add(calls)
	for i := range calls {
		say(t, ws, fmt.Sprintf(`{"id":%d,"method":"x","params":[]}`, i))
	}
	running.Wait()
	for i := range 100 {
		id := 1000 + i
		say(t, ws, fmt.Sprintf(`{"id":%d,"method":"x","params":[]}`, id))
		f := hear(t, ws)
		require.Equal(t, codeBusy, f.Error.Code)
		require.Equal(t, fmt.Sprint(id), string(f.ID))
		require.Contains(t, f.Error.Message, "at most 5, and 4000 bytes")
	}
	say(t, ws, `{"id":3,"method":"x","params":[]}`)
	require.Equal(t, "a call with this id is being answered", hear(t, ws).Error.Message)
	close(hold)
	for range calls {
		require.Zero(t, hear(t, ws).Error.Code)
	}
	running.Add(1)
	say(t, ws, `{"id":3,"method":"x","params":[]}`)
	require.Zero(t, hear(t, ws).Error.Code)
}

// Few large calls are as many as many small ones.
func TestBytesOfCalls(t *testing.T) {
	a := newAnswering(OpenerConfig{Calls: 100, MaxCall: 10}, echo, nil)
	require.Empty(t, a.begin("1", 30, nil))
	require.Empty(t, a.begin("2", 10, nil))
	require.Contains(t, a.begin("3", 1, nil), "too many calls at once")
	a.end("2", 10)
	require.Empty(t, a.begin("3", 10, nil))
	a.end("1", 30)
	a.end("3", 10)
	require.Zero(t, a.bytes)
	require.Empty(t, a.begin("4", 1000, nil), "one call is never too many")
}

// What is no call is answered as the protocol says, or ends the link.
func TestWhatIsNoCall(t *testing.T) {
	conns, o := hostile(t, nil)
	ws := <-conns
	for text, want := range map[string]struct {
		code int
		id   string
	}{
		`{`:                          {codeParse, "null"},
		`[{"id":1,"method":"x"}]`:    {codeParse, "null"},
		`{"method":"x","params":[]}`: {codeInvalid, "null"},
		`{"id":null,"method":"x"}`:   {codeInvalid, "null"},
		`{"id":"` + strings.Repeat("x", maxID) + `","method":"x"}`: {codeInvalid, "null"},
	} {
		say(t, ws, text)
		f := hear(t, ws)
		require.Equal(t, want.code, f.Error.Code, text)
		require.Equal(t, want.id, string(f.ID), text)
	}
	for _, params := range []string{"", `,"params":[]`, `,"params":[1]`, `,"params":{}`} {
		say(t, ws, `{"method":"xrpc.cancel"`+params+`}`)
	}
	say(t, ws, `{"id":1,"result":3}`)
	eventually(t, "the link ended", func() bool { return strings.Contains(o.Status().LastError, "answers what it was not asked") })
	ws = <-conns
	require.NoError(t, ws.WriteMessage(websocket.BinaryMessage, []byte("x")))
	eventually(t, "the link ended", func() bool { return strings.Contains(o.Status().LastError, "not text") })
}

// A host that is silent is left, and dialled again.
func TestSilentMarketsNode(t *testing.T) {
	conns, o := hostile(t, func(cfg *OpenerConfig, _ *OpenerDeps) { cfg.Silence = 30 * time.Millisecond })
	<-conns
	<-conns
	require.Contains(t, o.Status().LastError, "timeout")
}

// An answer that is too large is an error of its call, and the link stays.
func TestHugeAnswer(t *testing.T) {
	size := 100
	a, _ := pair(t, AcceptorConfig{}, func(cfg *OpenerConfig, deps *OpenerDeps) {
		cfg.Answer = 100
		deps.Answer = func(_ context.Context, _ []api.Permission, call []byte) []byte {
			head := fmt.Sprintf(`{"id":%s,"result":"`, parse(call).ID)
			return []byte(head + strings.Repeat("x", size-len(head)-2) + `"}`)
		}
	})
	got, err := a.Carry(t.Context(), "", callOf("1", "Filecoin.Much", "[]"))
	require.NoError(t, err)
	require.NotContains(t, string(got), "error")
	size++
	got, err = a.Carry(t.Context(), "", callOf("1", "Filecoin.Much", "[]"))
	require.NoError(t, err)
	require.JSONEq(t, `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,
		"message":"the answer to Filecoin.Much is bigger than 100 bytes; ask for less at once"}}`, string(got))
}

// Calls end with their link, and Run returns when they have.
func TestCallsEndWithTheLink(t *testing.T) {
	begun, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	conns, _ := hostile(t, func(_ *OpenerConfig, deps *OpenerDeps) {
		deps.Answer = func(ctx context.Context, _ []api.Permission, _ []byte) []byte {
			begun <- struct{}{}
			<-ctx.Done()
			ended <- struct{}{}
			return nil
		}
	})
	ws := <-conns
	say(t, ws, `{"id":1,"method":"x","params":[]}`)
	<-begun
	require.NoError(t, ws.Close())
	<-ended
	<-conns
}

func FuzzTake(f *testing.F) {
	for _, s := range []string{
		`{"id":1,"method":"x","params":[]}`, `{"method":"xrpc.cancel","params":[1]}`, `[]`,
		`{"id":{},"method":"y"}`, `{"ID":1,"Method":"z"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &wire{writing: make(chan struct{}, 1), gone: make(chan struct{})}
		close(w.gone)
		nothing := func(context.Context, []api.Permission, []byte) []byte { return nil }
		a := newAnswering(OpenerConfig{Calls: 2, MaxCall: 1 << 20, Answer: 1 << 20}, nothing, w)
		var calls sync.WaitGroup
		refused, err := a.take(t.Context(), b, &calls)
		calls.Wait()
		if err == nil && refused != nil && !json.Valid(refused) {
			t.Fatalf("%q is answered with %q", b, refused)
		}
		if len(a.running) != 0 || a.bytes != 0 {
			t.Fatalf("%q: %d calls, %d bytes are counted for ever", b, len(a.running), a.bytes)
		}
	})
}
