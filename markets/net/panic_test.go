package net

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
	cbg "github.com/whyrusleeping/cbor-gen"
)

// lines is a writer that several may use.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// A request over which the code panics has its stream reset; its place is free
// again, and the next one is answered.
func TestPanicOverARequestEndsItsStreamOnly(t *testing.T) {
	s, c := newTestHost(t, HostLimits{}, "/ip4/127.0.0.1/tcp/0"), newTestHost(t, HostLimits{})
	require.NoError(t, c.Connect(t.Context(), peer.AddrInfo{ID: s.ID(), Addrs: s.Addrs()}))
	log := &lines{}
	answer := func(_ context.Context, _ peer.ID, r io.Reader) (cbg.CBORMarshaler, error) {
		var e echo
		if err := e.UnmarshalCBOR(r); err != nil {
			return nil, err
		}
		if string(e) == "bad" {
			panic("index out of range")
		}
		return &e, nil
	}
	handlers := map[string]Handler{proto: answer}
	stop := Serve(context.Background(), s, DefaultLimits(1000), Slots{All: 1}, slog.New(slog.NewTextHandler(log, nil)), handlers)
	for range 3 {
		req, resp := echo("bad"), echo(nil)
		require.Error(t, Ask(t.Context(), c, s.ID(), []string{proto}, &req, &resp, 1000))
		req = echo("good")
		require.NoError(t, Ask(t.Context(), c, s.ID(), []string{proto}, &req, &resp, 1000))
		require.Equal(t, req, resp)
	}
	stop()
	require.Contains(t, log.text(), "panic caught")
	require.Equal(t, 1, strings.Count(log.text(), "stack="))
}
