package retrieve

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	car "github.com/ipld/go-car/v2"
	mh "github.com/multiformats/go-multihash"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/markets/dealmaker"
	"quarry/markets/pieces"
)

var missingRoot = cid.MustParse("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy")

// memory serves one piece and counts open handles.
type memory struct {
	piece cid.Cid
	data  []byte
	open  atomic.Int32
	err   error
}

type memPayload struct {
	*bytes.Reader
	m *memory
}

func (p memPayload) Close() error { p.m.open.Add(-1); return nil }

func (m *memory) OpenPiece(_ context.Context, c cid.Cid) (Payload, error) {
	if m.err != nil {
		return nil, m.err
	}
	if !c.Equals(m.piece) {
		return nil, &api.ErrNotFound{What: "piece"}
	}
	m.open.Add(1)
	return memPayload{bytes.NewReader(m.data), m}, nil
}

type site struct {
	t    *testing.T
	url  string
	car  *dealmaker.CAR
	file []byte
	src  *memory
	srv  *Server
}

func newSite(t *testing.T, cfg Config) *site {
	file := make([]byte, 5<<20)
	_, err := rand.Read(file)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), file, 0o600))
	c, err := dealmaker.Pack(context.Background(), filepath.Join(dir, "f"), filepath.Join(dir, "f.car"), 0)
	require.NoError(t, err)
	data, err := os.ReadFile(c.Path)
	require.NoError(t, err)
	store := pieces.NewStore(dssync.MutexWrap(datastore.NewMapDatastore()))
	require.NoError(t, store.Index(context.Background(), c.PieceCID, bytes.NewReader(data), c.Size))
	src := &memory{piece: c.PieceCID, data: data}
	srv, err := New(cfg, Deps{Find: store, Source: src})
	require.NoError(t, err)
	h := httptest.NewServer(srv.Handler())
	t.Cleanup(func() { h.Close(); srv.Close(); require.Zero(t, src.open.Load(), "a piece stayed open") })
	return &site{
		t:    t,
		url:  h.URL,
		car:  c,
		file: file,
		src:  src,
		srv:  srv,
	}
}

func (s *site) get(path string, headers ...string) (*http.Response, []byte, error) {
	req, err := http.NewRequest(http.MethodGet, s.url+path, nil)
	require.NoError(s.t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, b, err
}

func TestRetrieveByteEqual(t *testing.T) {
	s := newSite(t, Config{})
	out := filepath.Join(t.TempDir(), "out")
	n, err := dealmaker.Retrieve(context.Background(), http.DefaultClient, s.url, s.car.Root, out, nil)
	require.NoError(t, err)
	require.Greater(t, n, uint64(len(s.file)))
	got, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, s.file, got)
	require.Eventually(t, func() bool { return s.src.open.Load() == 0 }, 5*time.Second, 10*time.Millisecond, "idle pieces are closed")
}

func TestGatewayAnswers(t *testing.T) {
	s := newSite(t, Config{})
	root := "/ipfs/" + s.car.Root.String()
	tests := map[string]struct {
		path, accept string
		code         int
		ctype        string
	}{
		"car by accept": {root, "application/vnd.ipld.car;version=1;order=dfs;dups=y", 200, "application/vnd.ipld.car"},
		"car by format": {root + "?format=car&dag-scope=block", "", 200, "application/vnd.ipld.car"},
		"raw":           {root + "?format=raw", "", 200, "application/vnd.ipld.raw"},
		"rendered":      {root, "text/html", 406, ""},
		"missing car":   {"/ipfs/" + missingRoot.String() + "?format=car", "", 404, ""},
		"missing raw":   {"/ipfs/" + missingRoot.String() + "?format=raw", "", 404, ""},
		"bad cid":       {"/ipfs/nonsense?format=car", "", 400, ""},
		"bad scope":     {root + "?format=car&dag-scope=everything", "", 400, ""},
		"other route":   {"/ipns/example.com", "", 404, ""},
		"identity":      {"/ipfs/bafkqaaa?format=raw", "", 200, "application/vnd.ipld.raw"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			resp, _, err := s.get(tt.path, "Accept", tt.accept)
			require.NoError(t, err)
			require.Equal(t, tt.code, resp.StatusCode)
			require.Contains(t, resp.Header.Get("Content-Type"), tt.ctype)
		})
	}
	resp, err := http.Post(s.url+root, "text/plain", nil)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 405, resp.StatusCode)
}

func TestEntityBytesIsShort(t *testing.T) {
	s := newSite(t, Config{})
	_, whole, err := s.get("/ipfs/" + s.car.Root.String() + "?format=car&dag-scope=entity")
	require.NoError(t, err)
	_, part, err := s.get("/ipfs/" + s.car.Root.String() + "?format=car&dag-scope=entity&entity-bytes=0:100")
	require.NoError(t, err)
	require.Less(t, len(part), len(whole)/3)
	br, err := car.NewBlockReader(bytes.NewReader(part))
	require.NoError(t, err)
	require.Equal(t, s.car.Root, br.Roots[0])
}

func TestPieceRanges(t *testing.T) {
	s := newSite(t, Config{})
	path := "/piece/" + s.car.PieceCID.String()
	for rng, want := range map[string][]byte{"": s.src.data, "bytes=0-0": s.src.data[:1],
		"bytes=-10": s.src.data[len(s.src.data)-10:], "bytes=1000-": s.src.data[1000:]} {
		resp, b, err := s.get(path, "Range", rng)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, b), "range %q", rng)
		require.Equal(t, `"`+s.car.PieceCID.String()+`"`, resp.Header.Get("Etag"))
	}
	resp, _, _ := s.get(path, "Range", "bytes=99999999-")
	require.Equal(t, 416, resp.StatusCode)
	resp, _, _ = s.get("/piece/" + missingRoot.String())
	require.Equal(t, 400, resp.StatusCode)
	s.src.err = &api.ErrLocked{Sector: "s-t01000-1", Holder: "somebody"}
	resp, _, _ = s.get(path)
	require.Equal(t, 503, resp.StatusCode)
	s.src.err = errors.New("disk on fire")
	resp, b, _ := s.get(path)
	require.Equal(t, 500, resp.StatusCode)
	require.NotContains(t, string(b), "fire", "inner errors are not for strangers")
}

// A payload whose bytes are not what its CAR claims must never be served.
func TestWrongBytesAreNotServed(t *testing.T) {
	s := newSite(t, Config{})
	for i := 200; i < len(s.src.data); i++ {
		s.src.data[i] ^= 1
	}
	resp, b, err := s.get("/ipfs/" + s.car.Root.String() + "?format=raw")
	require.NoError(t, err)
	require.NotEqual(t, 200, resp.StatusCode)
	require.NotContains(t, string(b), string(s.src.data[300:400]))
	out := filepath.Join(t.TempDir(), "out")
	_, err = dealmaker.Retrieve(context.Background(), http.DefaultClient, s.url, s.car.Root, out, nil)
	require.Error(t, err)
	require.NoFileExists(t, out)
}

func TestTooManyAtOnce(t *testing.T) {
	s := newSite(t, Config{MaxRequests: 1})
	s.srv.slots <- struct{}{}
	resp, _, err := s.get("/piece/" + s.car.PieceCID.String())
	require.NoError(t, err)
	require.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
	<-s.srv.slots
}

func TestManyPiecesEvict(t *testing.T) {
	m := &memory{data: []byte("x")}
	bs := newBlockstore(nil, anyPiece{m})
	for i := range 3 * maxOpen {
		c, err := cid.V1Builder{Codec: cid.Raw, MhType: mh.SHA2_256}.Sum([]byte{byte(i)})
		require.NoError(t, err)
		h, err := bs.acquire(context.Background(), c)
		require.NoError(t, err)
		bs.release(h, c, false)
		require.LessOrEqual(t, m.open.Load(), int32(maxOpen))
	}
	bs.close()
	require.Zero(t, m.open.Load())
}

type anyPiece struct{ m *memory }

func (a anyPiece) OpenPiece(context.Context, cid.Cid) (Payload, error) {
	a.m.open.Add(1)
	return memPayload{bytes.NewReader(a.m.data), a.m}, nil
}
