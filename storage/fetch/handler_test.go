package fetch

import (
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"quarry/api"
)

// The handler names bytes by a strong validator that a replacement of the same
// size and time changes, and sends everything when If-Range names others.
func TestHandlerHonoursIfRange(t *testing.T) {
	s := serve(t, nil)
	src := s.path.FilePath(sector, api.FileSealed)
	require.NoError(t, os.WriteFile(src, []byte("0123456789"), 0o600))
	st, err := os.Stat(src)
	require.NoError(t, err)
	addr := s.declare(t, api.FileSealed)
	get := func(h http.Header) (int, string, string, http.Header) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, addr, nil)
		require.NoError(t, err)
		req.Header = h
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res.StatusCode, string(b), res.Trailer.Get(digestTrailer), res.Header
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	_, _, _, h := get(http.Header{})
	tag := h.Get("ETag")
	require.True(t, strings.HasPrefix(tag, `"`), tag)
	for _, want := range []string{"", "blake2b-256"} {
		for _, c := range []struct {
			ifRange, rng, body string
			code               int
			span               string
		}{
			{tag, "bytes=4-6", "456", 206, "bytes 4-6/10"},
			{"", "bytes=4-60", "456789", 206, "bytes 4-9/10"},
			{`"other"`, "bytes=4-6", "0123456789", 200, ""},
			{"W/" + tag, "bytes=4-6", "0123456789", 200, ""},
			{"", "", "0123456789", 200, ""},
			{tag, "bytes=9-9", "9", 206, "bytes 9-9/10"},
		} {
			req := http.Header{}
			for k, v := range map[string]string{"If-Range": c.ifRange, "Range": c.rng, wantDigest: want} {
				if v != "" {
					req[http.CanonicalHeaderKey(k)] = []string{v}
				}
			}
			code, body, sum, h := get(req)
			require.Equal(t, c.code, code, "%+v", c)
			require.Equal(t, c.body, body, "%+v", c)
			require.Equal(t, c.span, h.Get("Content-Range"), "%+v", c)
			if want != "" {
				d := newSum()
				d.Write([]byte(c.body))
				require.Equal(t, hex.EncodeToString(d.Sum(nil)), sum)
			}
		}
		for _, rng := range []string{"bytes=10-11", "bytes=x"} {
			code, _, _, h := get(http.Header{"Range": {rng}, http.CanonicalHeaderKey(wantDigest): {"blake2b-256"}})
			require.Equal(t, 416, code, rng)
			require.Equal(t, "bytes */10", h.Get("Content-Range"))
		}
	}
	require.NoError(t, os.WriteFile(src+".new", []byte("abcdefghij"), 0o600))
	require.NoError(t, os.Chtimes(src+".new", st.ModTime(), st.ModTime()))
	require.NoError(t, os.Rename(src+".new", src))
	_, _, _, h = get(http.Header{})
	require.NotEqual(t, tag, h.Get("ETag"))
}
