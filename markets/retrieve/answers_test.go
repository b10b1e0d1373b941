package retrieve

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	car "github.com/ipld/go-car/v2"
	"github.com/ipld/go-car/v2/storage"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/fluent/qp"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	mh "github.com/multiformats/go-multihash"
	"github.com/multiformats/go-varint"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/markets/pieces"
)

const forEver = "public, max-age=29030400, immutable"

// shelf holds pieces in memory, each with a trouble of its own.
type shelf struct {
	mu    sync.Mutex
	data  map[cid.Cid][]byte
	fails map[cid.Cid]error         // opening fails
	hangs map[cid.Cid]chan struct{} // reading hangs until it is closed
	opens map[cid.Cid]int
}

type shelfPayload struct {
	*bytes.Reader
	hang chan struct{}
}

func (p shelfPayload) Close() error { return nil }

func (p shelfPayload) ReadAt(b []byte, off int64) (int, error) {
	if p.hang != nil {
		<-p.hang
	}
	return p.Reader.ReadAt(b, off)
}

func (s *shelf) OpenPiece(_ context.Context, c cid.Cid) (Payload, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opens[c]++
	if err := s.fails[c]; err != nil {
		return nil, err
	}
	b, ok := s.data[c]
	if !ok {
		return nil, &api.ErrNotFound{What: "piece"}
	}
	return shelfPayload{bytes.NewReader(b), s.hangs[c]}, nil
}

func (s *shelf) opened(c cid.Cid) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opens[c]
}

// shop is a server over a shelf.
type shop struct {
	t     testing.TB
	shelf *shelf
	store *pieces.Store
	srv   *Server
	http  *httptest.Server
}

func newShop(t testing.TB, cfg Config) *shop {
	t.Helper()
	s := &shop{t: t, shelf: &shelf{
		data:  map[cid.Cid][]byte{},
		fails: map[cid.Cid]error{},
		hangs: map[cid.Cid]chan struct{}{},
		opens: map[cid.Cid]int{},
	}}
	s.store = pieces.NewStore(dssync.MutexWrap(datastore.NewMapDatastore()))
	var err error
	s.srv, err = New(cfg, Deps{Find: s.store, Source: s.shelf, Blame: s.store})
	require.NoError(t, err)
	s.http = httptest.NewServer(s.srv.Handler())
	t.Cleanup(func() { s.http.Close(); s.srv.Close() })
	return s
}

// scanned finds blocks by a table, as the store of the tests walks all it has for
// every question.
type scanned map[string][]pieces.Location

func (s scanned) Find(_ context.Context, h mh.Multihash) ([]pieces.Location, error) {
	return s[string(h)], nil
}

// bulk stores a payload of many blocks.
func (s *shop) bulk(name string, payload []byte) {
	s.t.Helper()
	c := pieceNamed(s.t, name)
	s.shelf.data[c] = payload
	table, ok := s.srv.bs.find.(scanned)
	if !ok {
		table = scanned{}
		s.srv.bs.find = table
	}
	require.NoError(s.t, pieces.ScanCAR(s.t.Context(), bytes.NewReader(payload), uint64(len(payload)), func(b pieces.Block) error {
		h := string(b.Cid.Hash())
		table[h] = append(table[h], pieces.Location{Piece: c, Offset: b.Offset, Length: b.Length})
		return nil
	}))
}

// piece stores a payload under a piece CID made of its name.
func (s *shop) piece(name string, payload []byte) cid.Cid {
	s.t.Helper()
	c := pieceNamed(s.t, name)
	s.shelf.mu.Lock()
	s.shelf.data[c] = bytes.Clone(payload)
	s.shelf.mu.Unlock()
	require.NoError(s.t, s.store.Index(context.Background(), c, bytes.NewReader(payload), uint64(len(payload))))
	return c
}

func pieceNamed(t testing.TB, name string) cid.Cid {
	t.Helper()
	h, err := mh.Sum([]byte(name), mh.SHA2_256, -1)
	require.NoError(t, err)
	d, err := mh.Decode(h)
	require.NoError(t, err)
	d.Digest[31] &= 0x3f
	commp, err := mh.Encode(d.Digest, mh.SHA2_256_TRUNC254_PADDED)
	require.NoError(t, err)
	return cid.NewCidV1(cid.FilCommitmentUnsealed, commp)
}

// carOf is a CARv1 of blocks.
func carOf(t testing.TB, blocks ...block) []byte {
	t.Helper()
	var buf bytes.Buffer
	_, err := storage.NewWritable(&buf, []cid.Cid{blocks[0].c}, car.WriteAsCarV1(true))
	require.NoError(t, err)
	for _, b := range blocks {
		buf.Write(varint.ToUvarint(uint64(b.c.ByteLen() + len(b.data))))
		buf.Write(b.c.Bytes())
		buf.Write(b.data)
	}
	return buf.Bytes()
}

type block struct {
	c    cid.Cid
	data []byte
}

func raw(t testing.TB, data string) block {
	return hashed(t, cid.Raw, mh.SHA2_256, []byte(data))
}

func hashed(t testing.TB, codec, hash uint64, data []byte) block {
	t.Helper()
	h, err := mh.Sum(data, hash, -1)
	require.NoError(t, err)
	return block{cid.NewCidV1(codec, h), data}
}

// node is a dag-cbor block {"links": [...]}.
func node(t testing.TB, salt string, links ...cid.Cid) block {
	t.Helper()
	n, err := qp.BuildMap(basicnode.Prototype.Any, 2, func(m datamodel.MapAssembler) {
		qp.MapEntry(m, "links", qp.List(int64(len(links)), func(l datamodel.ListAssembler) {
			for _, c := range links {
				qp.ListEntry(l, qp.Link(cidlink.Link{Cid: c}))
			}
		}))
		qp.MapEntry(m, "salt", qp.String(salt))
	})
	require.NoError(t, err)
	var buf bytes.Buffer
	require.NoError(t, dagcbor.Encode(n, &buf))
	return hashed(t, cid.DagCBOR, mh.SHA2_256, buf.Bytes())
}

// chain is a chain of n dag-cbor blocks, the root first.
func chain(t testing.TB, n int) []block {
	t.Helper()
	out := make([]block, n)
	out[n-1] = node(t, "end")
	for i := n - 2; i >= 0; i-- {
		out[i] = node(t, fmt.Sprint(i), out[i+1].c)
	}
	return out
}

func (s *shop) do(method, path string, headers ...string) (*http.Response, []byte, error) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.http.URL+path, nil)
	require.NoError(s.t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, b, err
}

// sent are the CIDs of a CAR, as far as it goes.
func sent(t testing.TB, b []byte) []cid.Cid {
	t.Helper()
	br, err := car.NewBlockReader(bytes.NewReader(b))
	require.NoError(t, err)
	out := []cid.Cid{}
	for {
		blk, err := br.Next()
		if err != nil {
			return out
		}
		out = append(out, blk.Cid())
	}
}

func cids(blocks []block) []cid.Cid {
	out := []cid.Cid{}
	for _, b := range blocks {
		out = append(out, b.c)
	}
	return out
}

// An answer that lacks a block is cut, in HTTP/1.1 without a final chunk, and no
// cache may keep it; what came before the gap is sent.
func TestIncompleteAnswerIsCut(t *testing.T) {
	long := chain(t, 20_000)
	wide := []block{{}}
	for i := range 300 {
		wide = append(wide, raw(t, strings.Repeat(fmt.Sprint(i%10), 1000)+fmt.Sprint(i)))
	}
	wide[0] = node(t, "wide", cids(wide[1:])...)
	tests := map[string]struct {
		dag  []block
		lack int // this one is not stored
	}{
		"small":                    {[]block{node(t, "two", raw(t, "a").c, raw(t, "b").c), raw(t, "a"), raw(t, "b")}, 2},
		"beyond what is held back": {wide, 200},
		"long chain":               {long, 10_000},
		"nothing but the root":     {[]block{node(t, "one", raw(t, "x").c), raw(t, "x")}, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newShop(t, Config{})
			s.bulk("p", carOf(t, append(append([]block{}, tt.dag[:tt.lack]...), tt.dag[tt.lack+1:]...)...))
			path := "/ipfs/" + tt.dag[0].c.String() + "?format=car&dag-scope=all"
			resp, b, err := s.do("GET", path)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.Equal(t, 200, resp.StatusCode)
			require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
			require.Empty(t, resp.Header.Get("X-Stream-Error"))
			require.Equal(t, cids(tt.dag[:tt.lack]), sent(t, b))
			require.NotContains(t, string(b), "Gateway Error")

			s.bulk("rest", carOf(t, tt.dag[tt.lack]))
			resp, b, err = s.do("GET", path)
			require.NoError(t, err)
			require.Equal(t, cids(tt.dag), sent(t, b))
			want := forEver
			if len(b) > holdBytes {
				want = "no-store"
			}
			require.Equal(t, want, resp.Header.Get("Cache-Control"))
		})
	}
}

// A client of HTTP/1.0 knows no chunks: it sees a reset.
func TestIncompleteAnswerResetsOldClients(t *testing.T) {
	s := newShop(t, Config{})
	root := node(t, "r", raw(t, "gone").c)
	s.piece("p", carOf(t, root))
	conn, err := net.Dial("tcp", s.http.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprintf(conn, "GET /ipfs/%s?format=car HTTP/1.0\r\n\r\n", root.c)
	_, err = io.ReadAll(bufio.NewReader(conn))
	require.ErrorContains(t, err, "reset")
}

// The scopes and duplicates of the trustless gateway.
func TestScopesAndDuplicates(t *testing.T) {
	a, b := raw(t, "a"), raw(t, "b")
	mid := node(t, "mid", a.c, b.c)
	root := node(t, "root", mid.c, a.c, mid.c)
	id := hashed(t, cid.Raw, mh.IDENTITY, bytes.Repeat([]byte("i"), 300))
	withID := node(t, "id", id.c, a.c)
	s := newShop(t, Config{})
	s.piece("p", carOf(t, root, mid, a, b, withID))
	at := "/ipfs/" + root.c.String()
	tests := map[string]struct {
		path string
		want []block
	}{
		"all":                  {at + "?format=car&dag-scope=all", []block{root, mid, a, b}},
		"all by default":       {at + "?format=car", []block{root, mid, a, b}},
		"all, duplicates":      {at + "?format=car&car-dups=y", []block{root, mid, a, b, a, mid, a, b}},
		"block":                {at + "?format=car&dag-scope=block", []block{root}},
		"entity":               {at + "?format=car&dag-scope=entity", []block{root}},
		"path":                 {at + "/links/0?format=car", []block{root, mid, a, b}},
		"path, block":          {at + "/links/0/links/1?format=car&dag-scope=block", []block{root, mid, b}},
		"identity within":      {"/ipfs/" + withID.c.String() + "?format=car", []block{withID, a}},
		"identity at the root": {"/ipfs/" + id.c.String() + "?format=car", []block{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			resp, b, err := s.do("GET", tt.path)
			require.NoError(t, err)
			require.Equal(t, 200, resp.StatusCode, string(b))
			require.Equal(t, cids(tt.want), sent(t, b))
			require.Equal(t, forEver, resp.Header.Get("Cache-Control"))
			require.NotEmpty(t, resp.Header.Get("Etag"))
			require.Empty(t, resp.Header.Get("Content-Length"))
		})
	}
	resp, body, err := s.do("HEAD", at+"?format=car")
	require.NoError(t, err)
	require.Empty(t, body)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"), "the DAG was not read")
}

// A path is followed as far as our blocks go: what they show not to exist is
// proven, what they lack is said, and what does not fit them is the client's
// mistake.
func TestPaths(t *testing.T) {
	gone := node(t, "gone")
	leaf := raw(t, "leaf")
	root := node(t, "root", leaf.c, gone.c)
	odd := hashed(t, 0x3fffff, mh.SHA2_256, []byte("odd"))
	s := newShop(t, Config{})
	s.piece("p", carOf(t, root, leaf, odd))
	at := "/ipfs/" + root.c.String()
	for path, code := range map[string]int{
		at + "/links/0?format=car":                                   200,
		at + "/links/1?format=car":                                   404, // the block is not here
		at + "/links/1/links/0?format=car":                           404,
		at + "/links/1?format=car&dag-scope=block":                   404,
		at + "/links/2?format=car":                                   200, // proven not to be
		at + "/links/abc?format=car":                                 400,
		at + "/links/0x1?format=car":                                 400,
		at + "/links/99999999999999999999?format=car":                400,
		"/ipfs/" + odd.c.String() + "/x?format=car":                  400,
		at + "?format=car&entity-bytes=a:b":                          400,
		at + "?format=car&entity-bytes=99999999999999999999:*":       400,
		at + "?format=car&dag-scope=entity&entity-bytes=10:5":        400,
		at + "?format=car&car-version=2":                             400,
		at + "?format=car&car-dups=maybe":                            400,
		at + "/links/0?format=raw":                                   406,
		"/ipfs/bafkqaaa/" + strings.Repeat("a/", 50) + "?format=car": 200,
	} {
		t.Run(path[len("/ipfs/")+10:min(len(path), 110)], func(t *testing.T) {
			resp, b, err := s.do("GET", path)
			require.NoError(t, err)
			require.Equal(t, code, resp.StatusCode, string(b))
			if code != 200 {
				require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
				require.Empty(t, resp.Header.Get("Etag"))
			}
		})
	}
}

// Hashes that are not served, and CIDs that are none, are the client's mistake,
// whether such a block is stored or not.
func TestHashesThatAreNotServed(t *testing.T) {
	md5 := hashed(t, cid.Raw, mh.MD5, []byte("a"))
	shake := hashed(t, cid.Raw, mh.SHAKE_128, []byte("a"))
	blake := hashed(t, cid.Raw, mh.BLAKE2B_MIN+31, []byte("a"))
	sha := raw(t, "a")
	s := newShop(t, Config{})
	s.piece("p", carOf(t, sha, md5, shake, blake))
	identity := func(n int) string {
		return hashed(t, cid.Raw, mh.IDENTITY, bytes.Repeat([]byte("i"), n)).c.String()
	}
	unknown, err := mh.Encode(make([]byte, 32), 0x300bad)
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		cid  string
		code int
		says string
	}{
		"sha2-256":         {sha.c.String(), 200, "a"},
		"blake2b":          {blake.c.String(), 200, "a"},
		"MD5":              {md5.c.String(), 400, "hash md5 is not served"},
		"SHAKE-128":        {shake.c.String(), 400, "hash shake-128 is not served"},
		"unknown":          {cid.NewCidV1(cid.Raw, unknown).String(), 400, "hash 0x300bad is not served"},
		"identity of 0":    {identity(0), 200, ""},
		"identity of 1":    {identity(1), 200, "i"},
		"identity of 129":  {identity(129), 200, strings.Repeat("i", 129)},
		"identity of 2048": {identity(2048), 200, strings.Repeat("i", 2048)},
		"identity of 2049": {identity(2049), 400, "hash identity is not served"},
		"no CID":           {"nonsense", 400, "bad CID"},
		"too long":         {strings.Repeat("b", maxName+1), 400, "bad CID: 8193 characters, at most 8192"},
		"nothing":          {"", 400, "bad CID"},
		"v0":               {cid.NewCidV0(sha.c.Hash()).String(), 200, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, b, err := s.do("GET", "/ipfs/"+tt.cid+"?format=raw")
			require.NoError(t, err)
			require.Equal(t, tt.code, resp.StatusCode, string(b))
			if tt.code == 200 {
				require.Equal(t, tt.says, string(b))
				return
			}
			require.Contains(t, string(b), tt.says)
		})
	}
}

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
			src := &frail{data: payload, reads: tt.reads, hang: make(chan struct{}), hangs: tt.hang, opens: tt.opens}
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
