package retrieve

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
	"github.com/stretchr/testify/require"
)

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
