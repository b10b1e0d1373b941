package pull

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/internal/secret"
)

// The pusher refuses what names no range or no place, asks nobody for it, and
// pushes to its own host only.
func TestPushRequests(t *testing.T) {
	id := strings.Repeat("ab", idBytes)
	good := api.PushRequest{
		ID:     id,
		Sector: sector,
		Offset: 128,
		Size:   256,
		From:   4,
		Length: 250,
	}
	require.NoError(t, checkPush(good))
	largest := good
	largest.Offset, largest.Size, largest.From, largest.Length = maxSectorBytes, maxSectorBytes, maxSectorBytes, maxSectorBytes
	require.NoError(t, checkPush(largest))
	require.NoError(t, checkPush(api.PushRequest{Size: 128}))
	for name, spoil := range map[string]func(*api.PushRequest){
		"no size":       func(r *api.PushRequest) { r.Size = 0 },
		"odd size":      func(r *api.PushRequest) { r.Size = 257 },
		"odd offset":    func(r *api.PushRequest) { r.Offset = 1 },
		"huge size":     func(r *api.PushRequest) { r.Size = maxSectorBytes + 128 },
		"huge offset":   func(r *api.PushRequest) { r.Offset = maxSectorBytes + 128 },
		"before":        func(r *api.PushRequest) { r.From = -1 },
		"far":           func(r *api.PushRequest) { r.From = maxSectorBytes + 1 },
		"negative":      func(r *api.PushRequest) { r.Length = -1 },
		"huge":          func(r *api.PushRequest) { r.Length = maxSectorBytes + 1 },
		"nothing there": func(r *api.PushRequest) { r.Length = 0 },
		"no place":      func(r *api.PushRequest) { r.ID = "" },
		"a path":        func(r *api.PushRequest) { r.ID = "../link" },
		"a host":        func(r *api.PushRequest) { r.ID = "@evil.example/x" },
		"short id":      func(r *api.PushRequest) { r.ID = id[2:] },
		"long id":       func(r *api.PushRequest) { r.ID = id + "ab" },
		"not hex":       func(r *api.PushRequest) { r.ID = "zz" + id[2:] },
	} {
		r := good
		spoil(&r)
		p := NewPusher(PusherConfig{Base: "http://127.0.0.1:1"}, PusherDeps{Reader: nil})
		var invalid *api.ErrInvalid
		require.ErrorAs(t, p.SectorPush(t.Context(), r), &invalid, name)
	}
	src := &source{ReaderAt: zeros{}, size: 254}
	p := NewPusher(PusherConfig{Base: "http://127.0.0.1:1"}, PusherDeps{Reader: src})
	var away *api.ErrUnreachable
	require.ErrorAs(t, p.SectorPush(t.Context(), good), &away)
	good.Length++
	var invalid *api.ErrInvalid
	require.ErrorAs(t, p.SectorPush(t.Context(), good), &invalid)
	require.Contains(t, invalid.Reason, "254 payload bytes, not 4+251")
	require.Zero(t, src.open.Load())
}

// A redirect is not followed, and what the other side says is shown without its
// control characters.
func TestPushIsNotSentElsewhere(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("somebody else is asked") }))
	defer elsewhere.Close()
	base := serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer l.i.nk" {
			t.Errorf("%v", r.Header)
		}
		w.Header().Set("Location", elsewhere.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
		_, _ = io.WriteString(w, "go on\x1b[2J there") // seen by the client
	}))
	src := &source{ReaderAt: zeros{}, size: 1 << 30}
	p := NewPusher(PusherConfig{Base: base, Token: secret.New("l.i.nk")}, PusherDeps{Reader: src})
	defer p.Close()
	err := p.SectorPush(t.Context(), api.PushRequest{ID: strings.Repeat("ab", idBytes), Sector: sector, Size: 128, Length: 100})
	require.ErrorContains(t, err, "307 Temporary Redirect: go on\\x1b[2J there")
}

// takesNothing is a markets node that reads no push; each one is told to came.
func takesNothing(t *testing.T) (base string, came chan struct{}) {
	t.Helper()
	came, end := make(chan struct{}, 2), make(chan struct{})
	base = serveHTTP(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		came <- struct{}{}
		<-end
	}))
	t.Cleanup(func() { close(end) })
	return base, came
}

var huge = api.PushRequest{ID: strings.Repeat("ab", idBytes), Sector: sector, Size: 32 << 30, Length: 1 << 34}

// So many pushes at once and no more.
func TestPushesAreBounded(t *testing.T) {
	base, came := takesNothing(t)
	src := &source{ReaderAt: zeros{}, size: 1 << 40}
	p := NewPusher(PusherConfig{Base: base, Pushes: 2}, PusherDeps{Reader: src})
	defer p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 2)
	for range 2 {
		go func() { errs <- p.SectorPush(ctx, huge) }()
		<-came
	}
	var busy *api.ErrBusy
	require.ErrorAs(t, p.SectorPush(t.Context(), huge), &busy)
	cancel()
	for range 2 {
		require.ErrorContains(t, <-errs, context.Canceled.Error())
	}
	require.Zero(t, src.open.Load())
	require.Empty(t, p.pushes)
}

// A push that the other side does not take ends.
func TestPushThatStalls(t *testing.T) {
	base, _ := takesNothing(t)
	src := &source{ReaderAt: zeros{}, size: 1 << 40}
	p := NewPusher(PusherConfig{Base: base, Stall: 50 * time.Millisecond}, PusherDeps{Reader: src})
	defer p.Close()
	require.ErrorContains(t, p.SectorPush(t.Context(), huge), errStalled.Error())
	require.Zero(t, src.open.Load())
}
