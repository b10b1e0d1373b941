package apitest

import (
	"net/http"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/gorilla/websocket"
)

type addr = address.Address

// rawSocket speaks frames, as a client that is not ours would.
type rawSocket struct{ c *websocket.Conn }

func dialRaw(t *testing.T, s *Server, token string) rawSocket {
	t.Helper()
	c, _, err := websocket.DefaultDialer.Dial("ws://"+s.Addr+"/rpc/v1", http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return rawSocket{c}
}

func (r rawSocket) write(s string) error { return r.c.WriteMessage(websocket.TextMessage, []byte(s)) }

func (r rawSocket) read() (string, error) {
	_, b, err := r.c.ReadMessage()
	return string(b), err
}

func (r rawSocket) ask(t *testing.T, s string) string {
	t.Helper()
	if err := r.write(s); err != nil {
		t.Fatal(err)
	}
	answer, err := r.read()
	if err != nil {
		t.Fatal(err)
	}
	return answer
}
