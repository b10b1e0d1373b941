package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	logging "github.com/ipfs/go-log/v2"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/api/client"
	"quarry/internal/listen"
)

// sentIDs are ids as clients write them.
var sentIDs = []string{
	"1", "0", "-1", "9007199254740993", "18446744073709551615", "-9223372036854775808", "123456789012345678901234567890",
	"1.0", "1.5e3", "1E400", `"x"`, `""`, `"#0"`, `"a \" \\ \u0041 é"`, `"9007199254740993"`, "null",
}

type notifier struct{ api.ChainStruct }

func (notifier) StateNetworkName(context.Context) (string, error) { return `{"id":"#0"},["id":1]`, nil }
func (notifier) ChainHead(context.Context) (*api.TipSet, error) {
	return nil, &api.ErrNotFound{What: `"id":7`, Hint: "wait"}
}
func (notifier) ChainNotify(ctx context.Context) (<-chan []*api.HeadChange, error) {
	ch := make(chan []*api.HeadChange, 1)
	ch <- []*api.HeadChange{{Type: "current"}}
	go func() { <-ctx.Done(); close(ch) }()
	return ch, nil
}

func startChain(t *testing.T, cfg Config) *Server {
	return start(t, cfg, Deps{}, func(s *Server) { s.RegisterChain(&notifier{}) })
}

// reply is an answer with its id as it was written.
type reply struct {
	ID     json.RawMessage
	Method string
	Params []json.RawMessage
	Result json.RawMessage
	Error  *struct {
		Code    int
		Message string
	}
}

func asReply(t *testing.T, b []byte) (r reply) {
	t.Helper()
	require.NoError(t, json.Unmarshal(b, &r), "%s", b)
	return r
}

func socketTo(t *testing.T, s *Server) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.DefaultDialer.Dial("ws://"+s.Addr()+"/rpc/v1", http.Header{"Authorization": {"Bearer admin"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
	return c
}

func say(t *testing.T, c *websocket.Conn, text string) {
	t.Helper()
	require.NoError(t, c.WriteMessage(websocket.TextMessage, []byte(text)))
}

func hear(t *testing.T, c *websocket.Conn) reply {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
	_, b, err := c.ReadMessage()
	require.NoError(t, err)
	return asReply(t, b)
}

// An id comes back as it was sent, with results, with errors and for methods that
// do not exist, over both transports.
func TestIDsComeBackAsSent(t *testing.T) {
	s := startChain(t, Config{})
	c := socketTo(t, s)
	for _, id := range sentIDs {
		for method, code := range map[string]int{"StateNetworkName": 0, "ChainHead": 102, "Nothing": -32601} {
			for _, text := range []string{
				fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"Filecoin.%s","params":[]}`, id, method),
				fmt.Sprintf("\n{\"method\":\"Filecoin.%s\" , \"params\":[], \"meta\":{\"id\":\"9\"}, \"id\" : %s }\n", method, id),
				fmt.Sprintf(`{"\u0069d":3,"ID":%s,"method":"Filecoin.%s","params":[]}`, id, method),
			} {
				_, body := do(t, "POST", "http://"+s.Addr()+"/rpc/v1", "Bearer admin", text)
				say(t, c, text)
				for _, r := range []reply{asReply(t, []byte(body)), hear(t, c)} {
					require.Equal(t, id, string(r.ID), text)
					if code == 0 {
						require.Nil(t, r.Error)
						require.JSONEq(t, `"{\"id\":\"#0\"},[\"id\":1]"`, string(r.Result))
					} else {
						require.Equal(t, code, r.Error.Code)
					}
				}
			}
		}
	}
}

// Batches get every id back, in order; calls without one are not answered.
func TestBatchIDs(t *testing.T) {
	s := startChain(t, Config{})
	var calls []string
	for i, id := range sentIDs {
		method := []string{"StateNetworkName", "ChainHead", "No"}[i%3]
		calls = append(calls, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"Filecoin.%s","params":[]}`, id, method))
	}
	calls = append(calls[:3:3], append([]string{`{"jsonrpc":"2.0","method":"Filecoin.StateNetworkName","params":[]}`}, calls[3:]...)...)
	_, body := do(t, "POST", "http://"+s.Addr()+"/rpc/v1", "Bearer admin", " [ "+strings.Join(calls, " , ")+" ] ")
	var answers []reply
	require.NoError(t, json.Unmarshal([]byte(body), &answers), body)
	require.Len(t, answers, len(sentIDs))
	for i, id := range sentIDs {
		require.Equal(t, id, string(answers[i].ID))
	}
	many := strings.Repeat(`{"jsonrpc":"2.0","id":1,"method":"x"},`, maxBatch+1)
	code, body := do(t, "POST", "http://"+s.Addr()+"/rpc/v1", "Bearer admin", "["+many[:len(many)-1]+"]")
	require.Equal(t, 400, code)
	require.Equal(t, codeInvalid, asReply(t, []byte(body)).Error.Code)
}

// What is no call is answered as what it is, and the connection goes on.
func TestMessagesThatAreNoCalls(t *testing.T) {
	s := startChain(t, Config{})
	c := socketTo(t, s)
	for text, code := range map[string]int{
		`nonsense`: codeParse, ``: codeParse, `{"id":1,"method":"x"`: codeParse, `"x"`: codeParse, `7`: codeParse, `{}{}`: codeParse,
		`{}`: codeInvalid, `{"id":1}`: codeInvalid, `[]`: codeInvalid, `{"id":1,"method":""}`: codeInvalid,
		`{"id":1,"method":5}`:      codeInvalid,
		`{"id":true,"method":"x"}`: codeInvalid, `{"id":{},"method":"x"}`: codeInvalid, `{"id":[1],"method":"x"}`: codeInvalid,
		`{"id":1,"method":"x","meta":[]}`: codeInvalid, `{"id":"` + strings.Repeat("x", maxIDBytes) + `","method":"x"}`: codeInvalid,
	} {
		say(t, c, text)
		r := hear(t, c)
		require.NotNil(t, r.Error, text)
		require.Equal(t, code, r.Error.Code, text)
	}
	for _, text := range []string{`{"id":true,"method":"x"}`, `{"id":{},"method":"x"}`, `[{"id":[],"method":"x"}]`} {
		status, body := do(t, "POST", "http://"+s.Addr()+"/rpc/v1", "Bearer admin", text)
		require.Equal(t, 400, status)
		require.Equal(t, codeInvalid, asReply(t, []byte(body)).Error.Code)
	}
	// A notification is carried out and not answered; the next answer is of the call.
	say(t, c, `{"jsonrpc":"2.0","method":"Filecoin.StateNetworkName","params":[]}`)
	say(t, c, `{"jsonrpc":"2.0","method":"Filecoin.ChainHead","params":[]}`)
	say(t, c, `{"jsonrpc":"2.0","id":"last","method":"Filecoin.StateNetworkName","params":[]}`)
	require.Equal(t, `"last"`, string(hear(t, c).ID))
}

// Subscriptions work with ids of any kind, end when they are cancelled by that id,
// and their number is bounded.
func TestSubscriptions(t *testing.T) {
	s := startChain(t, Config{})
	c := socketTo(t, s)
	open := func(id string) string {
		say(t, c, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"Filecoin.ChainNotify","params":[]}`, id))
		r := hear(t, c)
		require.Equal(t, id, string(r.ID))
		if r.Error != nil {
			require.Equal(t, codeBusy, r.Error.Code)
			return ""
		}
		value := hear(t, c)
		require.Equal(t, "xrpc.ch.val", value.Method)
		require.Equal(t, string(r.Result), string(value.Params[0]))
		return string(r.Result)
	}
	end := func(id, channel string) {
		say(t, c, fmt.Sprintf(`{"jsonrpc":"2.0","method":"xrpc.cancel","params":[%s]}`, id))
		r := hear(t, c)
		require.Equal(t, "xrpc.ch.close", r.Method)
		require.Equal(t, channel, string(r.Params[0]))
	}
	for _, id := range sentIDs {
		end(id, open(id))
	}
	for i := range maxSubscriptions {
		require.NotEmpty(t, open(fmt.Sprint(i)))
	}
	require.Empty(t, open("9007199254740993"))
	say(t, c, `{"jsonrpc":"2.0","method":"xrpc.cancel","params":[3]}`)
	require.Equal(t, "xrpc.ch.close", hear(t, c).Method)
	require.NotEmpty(t, open("9007199254740993"))
}

// Our own client and its subscriptions are as before.
func TestOwnClientSubscribes(t *testing.T) {
	s := startChain(t, Config{DefaultPerms: []api.Permission{api.PermRead}})
	n, err := client.Chain(t.Context(), client.Config{Info: s.Multiaddr(), Name: "a node"})
	require.NoError(t, err)
	defer n.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ch, err := n.ChainNotify(ctx)
	require.NoError(t, err)
	got := <-ch
	require.Equal(t, "current", got[0].Type)
	name, err := n.StateNetworkName(ctx)
	require.NoError(t, err)
	require.Equal(t, `{"id":"#0"},["id":1]`, name)
	cancel()
	for range ch { // it ends
	}
}

// Big answers and big calls pass whole, in whatever pieces.
func TestBigMessages(t *testing.T) {
	e := &echoes{text: new(string)}
	s := start(t, Config{MaxRequestBytes: 4 << 20}, Deps{}, func(s *Server) { s.RegisterChain(e); s.RegisterCommon(e) })
	c := socketTo(t, s)
	for _, n := range []int{0, 1, 100, 4000, 4096, 5000, 65500, 65536, 70000, 1 << 20} {
		text := strings.Repeat("x", n)
		call := fmt.Sprintf(`{"jsonrpc":"2.0","id":18446744073709551615,"method":"Filecoin.AuthVerify","params":["%s"]}`, text)
		_, body := do(t, "POST", "http://"+s.Addr()+"/rpc/v1", "Bearer admin", call)
		say(t, c, call)
		for _, r := range []reply{asReply(t, []byte(body)), hear(t, c)} {
			require.Equal(t, "18446744073709551615", string(r.ID))
			require.NotNil(t, r.Error)
			require.Equal(t, "not a token: "+text, r.Error.Message)
		}
		call = `{"jsonrpc":"2.0","id":-1,"method":"Filecoin.StateNetworkName","params":[]}`
		_, body = do(t, "POST", "http://"+s.Addr()+"/rpc/v1", "Bearer admin", call)
		say(t, c, call)
		for _, r := range []reply{asReply(t, []byte(body)), hear(t, c)} {
			require.Equal(t, "-1", string(r.ID))
			require.Equal(t, `"`+text+`"`, string(r.Result))
		}
	}
	say(t, c, strings.Repeat(" ", 4<<20+1))
	_, _, err := c.ReadMessage()
	require.Error(t, err, "a message above the limit ends the connection")
}

// One stranger cannot fill the log.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	pipe := logging.NewPipeReader(logging.PipeLevel(logging.LevelDebug))
	var lines bytes.Buffer
	read := make(chan struct{})
	go func() { defer close(read); _, _ = io.Copy(&lines, pipe) }()
	s := startChain(t, Config{})
	c := socketTo(t, s)
	for i := range 2000 {
		switch i % 4 {
		case 0:
			say(t, c, `{"jsonrpc":"2.0","id":1,"method":"Filecoin.Nothing"}`)
		case 1:
			say(t, c, `nonsense`)
		case 2:
			say(t, c, `{"jsonrpc":"2.0","id":1,"method":"Filecoin.ChainHead","params":[]}`)
		case 3:
			say(t, c, `{"jsonrpc":"2.0","method":"xrpc.ch.val","params":[1,2]}`)
			continue
		}
		hear(t, c)
	}
	require.NoError(t, pipe.Close())
	<-read
	require.Less(t, strings.Count(lines.String(), "\n"), 50)
}

// A websocket that does not read is cut, and so is one that goes silent.
func TestSocketsThatAreWaitedForAreCut(t *testing.T) {
	lim := listen.Limits{Stall: 300 * time.Millisecond, SocketIdle: 300 * time.Millisecond}
	s := startChain(t, Config{Limits: lim})
	for name, send := range map[string]string{"silent": "", "half a frame": "\x81\xfe\x10",
		"half a message": "\x01\x83\x00\x00\x00\x00{\"i"} {
		t.Run(name, func(t *testing.T) {
			c := socketTo(t, s)
			raw := c.NetConn()
			_, err := io.WriteString(raw, send)
			require.NoError(t, err)
			require.NoError(t, raw.SetReadDeadline(time.Now().Add(20*time.Second)))
			_, err = io.Copy(io.Discard, raw) // pings are not answered
			require.NoError(t, err)
		})
	}
}

// A websocket that asks and does not read the answers is cut, with what it keeps
// busy.
func TestSocketThatDoesNotReadIsCut(t *testing.T) {
	e := &echoes{text: new(string)}
	*e.text = strings.Repeat("x", 1<<20)
	s := start(t, Config{Limits: listen.Limits{Stall: 300 * time.Millisecond, SocketIdle: time.Hour}}, Deps{},
		func(s *Server) { s.RegisterChain(e) })
	c := socketTo(t, s)
	var err error
	for begun := time.Now(); err == nil && time.Since(begun) < 20*time.Second; {
		err = c.WriteMessage(websocket.TextMessage, []byte(`{"jsonrpc":"2.0","id":1,"method":"Filecoin.StateNetworkName","params":[]}`))
	}
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
}

// More calls at once than a connection may have are refused, and calls of others
// go on.
func TestCallsAtOnce(t *testing.T) {
	release := make(chan struct{})
	s := start(t, Config{}, Deps{}, func(s *Server) { s.RegisterChain(&slowChain{release: release}) })
	c := socketTo(t, s)
	for i := range maxCalls + 1 {
		say(t, c, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"Filecoin.StateNetworkName","params":[]}`, i))
	}
	r := hear(t, c)
	require.Equal(t, fmt.Sprint(maxCalls), string(r.ID))
	require.Equal(t, codeBusy, r.Error.Code)
	close(release)
	for range maxCalls {
		require.Nil(t, hear(t, c).Error)
	}
	say(t, c, `{"jsonrpc":"2.0","id":"more","method":"Filecoin.StateNetworkName","params":[]}`)
	require.Equal(t, `"more"`, string(hear(t, c).ID))
}

// echoes fails with what it was asked, and answers it.
type echoes struct {
	api.CommonStruct
	api.ChainStruct
	text *string
}

func (e echoes) AuthVerify(_ context.Context, text string) ([]api.Permission, error) {
	*e.text = text
	return nil, errors.New("not a token: " + text)
}

func (e echoes) StateNetworkName(context.Context) (string, error) { return *e.text, nil }

type slowChain struct {
	api.ChainStruct
	release chan struct{}
}

func (c slowChain) StateNetworkName(context.Context) (string, error) {
	<-c.release
	return "devnet", nil
}

// restored puts answers through a restorer in pieces.
func restored(ids callIDs, text string, step int) string {
	w := httptest.NewRecorder()
	a := &answerWriter{ResponseWriter: w, restorer: restorer{id: ids.restore}}
	for len(text) > 0 {
		n := min(step, len(text))
		_, _ = a.Write([]byte(text[:n]))
		text = text[n:]
	}
	return w.Body.String()
}

func FuzzIDs(f *testing.F) {
	for _, id := range sentIDs {
		f.Add([]byte(`{"jsonrpc":"2.0","id":`+id+`,"method":"x","params":[{"id":1}]}`), 1)
		f.Add([]byte(`[{"id":`+id+`,"method":"x"},{"error":{"id":"]}"},"id":`+id+`}]`), 3)
	}
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		parts, ids, err := swapIDs(b)
		if err != nil || !json.Valid(b) {
			return
		}
		if step = step % 16; step < 1 {
			step = 16
		}
		swapped := string(bytes.Join(parts, nil))
		require.True(t, json.Valid([]byte(swapped)), "%s", swapped)
		// What was taken out is put back by the restorer where the key is as the
		// library writes it, and everything else is passed on as it is.
		back := restored(ids, swapped, step)
		require.True(t, json.Valid([]byte(back)), "%q became %q", b, back)
		require.Equal(t, back, restored(ids, swapped, len(swapped)))
		var calls calls
		calls.limit, calls.subscribes = 1<<20, func(string) bool { return false }
		calls.incoming(b)
	})
}
