package retrieve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// Of several pieces that hold a block each is tried until the bytes of one are
// right; one that lies is put last and loses its entry.
func TestLyingPieceIsPassedOverAndForgotten(t *testing.T) {
	blk, other := raw(t, "right bytes"), raw(t, "other bytes")
	s := newShop(t, Config{})
	names := []cid.Cid{}
	for i := range 30 {
		names = append(names, s.piece(fmt.Sprint(i), carOf(t, blk, other)))
	}
	locs, err := s.store.Find(t.Context(), blk.c.Hash())
	require.NoError(t, err)
	require.Len(t, locs, 30)
	honest := locs[29].Piece // the last of all
	for _, c := range names {
		if c != honest {
			payload := s.shelf.data[c]
			i := bytes.Index(payload, blk.data)
			payload[i] ^= 1
		}
	}
	resp, b, err := s.do("GET", "/ipfs/"+blk.c.String()+"?format=raw")
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "right bytes", string(b))
	locs, err = s.store.Find(t.Context(), blk.c.Hash())
	require.NoError(t, err)
	require.Equal(t, []cid.Cid{honest}, []cid.Cid{locs[0].Piece})
	require.Len(t, locs, 1)
	locs, err = s.store.Find(t.Context(), other.c.Hash())
	require.NoError(t, err)
	require.Len(t, locs, 30, "what is right of a piece that lied stays")
	require.Equal(t, honest, locs[0].Piece, "and comes last")
	rec, err := s.store.Get(t.Context(), locs[1].Piece)
	require.NoError(t, err)
	require.Equal(t, 1, rec.Wrong)
	require.Equal(t, 2, s.shelf.opened(locs[1].Piece), "once more through a fresh opening, before it is accused")
}

// Bytes damaged on the way once are no lie.
func TestDamageOnTheWayIsNoLie(t *testing.T) {
	blk := raw(t, "right bytes")
	s := newShop(t, Config{})
	c := s.piece("p", carOf(t, blk))
	good := bytes.Clone(s.shelf.data[c])
	s.shelf.data[c][len(good)-1] ^= 1
	bad := s.shelf.data[c]
	hang := make(chan struct{})
	s.shelf.hangs[c] = hang
	go func() { // it is opened with the bad bytes; the next opening finds the good ones
		for s.shelf.opened(c) == 0 {
			time.Sleep(time.Millisecond)
		}
		s.shelf.mu.Lock()
		s.shelf.data[c] = good
		s.shelf.mu.Unlock()
		close(hang)
	}()
	resp, b, err := s.do("GET", "/ipfs/"+blk.c.String()+"?format=raw")
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode, string(b))
	require.Equal(t, 2, s.shelf.opened(c))
	rec, err := s.store.Get(t.Context(), c)
	require.NoError(t, err)
	require.Zero(t, rec.Wrong)
	require.NotEqual(t, good, bad)
}

// Only wrong bytes are no block: 404, the first time and after.
func TestOnlyWrongBytesAreNotFound(t *testing.T) {
	blk := raw(t, "right bytes")
	s := newShop(t, Config{})
	c := s.piece("p", carOf(t, blk))
	s.shelf.data[c][len(s.shelf.data[c])-1] ^= 1
	for range 2 {
		resp, b, err := s.do("GET", "/ipfs/"+blk.c.String()+"?format=raw")
		require.NoError(t, err)
		require.Equal(t, 404, resp.StatusCode)
		require.Equal(t, "this block is not stored here\n", string(b))
		require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	}
	resp, _, err := s.do("HEAD", "/ipfs/"+blk.c.String()+"?format=raw", "Cache-Control", "only-if-cached")
	require.NoError(t, err)
	require.Equal(t, 412, resp.StatusCode)
}

// What is stored and cannot be read is 503 with Retry-After, in its time; a piece
// that can be read serves beside one that hangs or fails.
func TestNothingReadableIs503InTime(t *testing.T) {
	blk := raw(t, "bytes")
	for name, tt := range map[string]struct {
		err  error
		hang bool
	}{
		"no copy":     {err: &api.ErrBusy{What: "piece", Reason: "/secret/path"}},
		"unreachable": {err: &api.ErrUnreachable{Peer: "10.0.0.1:2345", Reason: "/secret/path"}},
		"broken":      {err: errors.New("input/output error: /secret/path")},
		"not known":   {err: &api.ErrNotFound{What: "/secret/path"}},
		"hangs":       {hang: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t, Config{Timeout: 200 * time.Millisecond})
			c := s.piece("bad", carOf(t, blk))
			s.shelf.fails[c] = tt.err
			hang := make(chan struct{})
			defer close(hang)
			if tt.hang {
				s.shelf.hangs[c] = hang
			}
			for _, format := range []string{"raw", "car", "car&dag-scope=block"} {
				resp, b, err := s.do("GET", "/ipfs/"+blk.c.String()+"?format="+format)
				require.NoError(t, err)
				require.Equal(t, 503, resp.StatusCode, string(b))
				require.Equal(t, "5", resp.Header.Get("Retry-After"))
				require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
				require.NotContains(t, string(b), "secret")
				require.NotContains(t, string(b), "10.0.0.1")
			}
			s.piece("good", carOf(t, blk))
			resp, b, err := s.do("GET", "/ipfs/"+blk.c.String()+"?format=raw")
			require.NoError(t, err)
			require.Equal(t, 200, resp.StatusCode)
			require.Equal(t, "bytes", string(b))
		})
	}
}

// The same holds in the middle of a DAG, and along a path.
func TestBlockThatCannotBeReadNow(t *testing.T) {
	leaf := raw(t, "leaf")
	root := node(t, "root", leaf.c)
	s := newShop(t, Config{})
	s.piece("root", carOf(t, root))
	c := s.piece("leaf", carOf(t, leaf))
	s.shelf.fails[c] = &api.ErrBusy{What: "piece", Reason: "sealed"}
	_, _, err := s.do("GET", "/ipfs/"+root.c.String()+"?format=car")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	resp, b, err := s.do("GET", "/ipfs/"+root.c.String()+"/links/0/x?format=car")
	require.NoError(t, err)
	require.Equal(t, 503, resp.StatusCode, string(b))
	require.Equal(t, "5", resp.Header.Get("Retry-After"))
	require.NotContains(t, string(b), "sealed")
}

// A piece whose first bytes cannot be read is 503, one that breaks later is cut;
// reads that hang end in their time.
func TestPieceThatCannotBeRead(t *testing.T) {
	payload := bytes.Repeat([]byte("payload "), 100_000)
	tests := map[string]struct {
		reads  int // that work, of 32 KiB
		hang   bool
		opens  bool
		code   int
		broken bool
	}{
		"not opened":   {0, false, false, 503, false},
		"first read":   {0, false, true, 503, false},
		"second read":  {1, false, true, 200, true},
		"first hangs":  {0, true, true, 503, false},
		"second hangs": {1, true, true, 200, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := pieceNamed(t, "p")
			src := &frail{
				data:  payload,
				reads: tt.reads,
				hang:  make(chan struct{}),
				hangs: tt.hang,
				opens: tt.opens,
			}
			srv, err := New(Config{Timeout: 100 * time.Millisecond}, Deps{Find: nil, Source: src})
			require.NoError(t, err)
			h := httptest.NewServer(srv.Handler())
			defer h.Close()
			resp, err := http.Get(h.URL + "/piece/" + c.String())
			require.NoError(t, err)
			defer resp.Body.Close()
			require.Equal(t, tt.code, resp.StatusCode)
			b, err := io.ReadAll(resp.Body)
			require.Equal(t, tt.broken, err != nil, "%v", err)
			if tt.code == 503 {
				require.Equal(t, "5", resp.Header.Get("Retry-After"))
				require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
				require.Empty(t, resp.Header.Get("Etag"))
				require.NotContains(t, string(b), "secret")
			}
			close(src.hang)
			require.Eventually(t, func() bool {
				src.mu.Lock()
				defer src.mu.Unlock()
				return src.open == 0
			}, 5*time.Second, time.Millisecond, "it is let go of")
		})
	}
}

// frail is a piece that breaks, or hangs, after some reads.
type frail struct {
	mu    sync.Mutex
	data  []byte
	reads int
	open  int
	opens bool
	hangs bool
	hang  chan struct{}
}

func (f *frail) OpenPiece(context.Context, cid.Cid) (Payload, error) {
	if !f.opens {
		<-f.hang
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open++
	return f, nil
}

func (f *frail) Size() int64 { return int64(len(f.data)) }

func (f *frail) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open--
	return nil
}

func (f *frail) ReadAt(b []byte, off int64) (int, error) {
	f.mu.Lock()
	f.reads--
	ok := f.reads >= 0
	f.mu.Unlock()
	if !ok && f.hangs {
		<-f.hang
	}
	if !ok {
		return 0, errors.New("/secret/path: input/output error")
	}
	return bytes.NewReader(f.data).ReadAt(b, off)
}

// Ranges and HEAD of a raw block.
func TestRawBlockRangesAndHead(t *testing.T) {
	blk := raw(t, "0123456789")
	s := newShop(t, Config{})
	s.piece("p", carOf(t, blk))
	path := "/ipfs/" + blk.c.String() + "?format=raw"
	for _, tt := range []struct {
		method, rng string
		code        int
		body, size  string
	}{
		{"GET", "", 200, "0123456789", "10"},
		{"HEAD", "", 200, "", "10"},
		{"GET", "bytes=2-4", 206, "234", "3"},
		{"GET", "bytes=-1", 206, "9", "1"},
		{"GET", "bytes=10-", 416, "", ""},
		{"HEAD", "bytes=0-0", 206, "", "1"},
	} {
		resp, b, err := s.do(tt.method, path, "Range", tt.rng)
		require.NoError(t, err)
		require.Equal(t, tt.code, resp.StatusCode)
		if tt.code < 300 {
			require.Equal(t, tt.body, string(b))
			require.Equal(t, tt.size, resp.Header.Get("Content-Length"))
			require.Equal(t, forEver, resp.Header.Get("Cache-Control"))
			require.Equal(t, "Accept", resp.Header.Get("Vary"))
		}
	}
	resp, _, err := s.do("GET", path, "If-None-Match", `"`+blk.c.String()+`.raw"`)
	require.NoError(t, err)
	require.Equal(t, 304, resp.StatusCode)
	resp, _, err = s.do("OPTIONS", path)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, []string{"GET", "HEAD", "OPTIONS"}, resp.Header["Allow"])
}
