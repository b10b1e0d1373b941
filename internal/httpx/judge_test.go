package httpx

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func response(code int, length int64, body string, header ...string) *http.Response {
	res := &http.Response{
		StatusCode:    code,
		Status:        http.StatusText(code),
		ContentLength: length,
		Header:        http.Header{},
		Body:          io.NopCloser(strings.NewReader(body)),
		Request:       &http.Request{URL: &url.URL{Host: "h"}},
	}
	for i := 0; i+1 < len(header); i += 2 {
		res.Header.Set(header[i], header[i+1])
	}
	return res
}

// Both sides of each bound of what an answer may be.
func TestJudgeBounds(t *testing.T) {
	for name, c := range map[string]struct {
		res  *http.Response
		q    question
		want string // of the error; "" = taken
		end  int64
	}{
		"nothing":          {response(200, 0, ""), question{}, "", 0},
		"untold":           {response(200, -1, ""), question{size: 10}, "", unknown},
		"largest":          {response(200, maxBytes, ""), question{}, "", maxBytes},
		"too large":        {response(200, maxBytes+1, ""), question{}, "are too many", 0},
		"empty part":       {response(206, 0, "", "Content-Range", "bytes 0-0/1"), question{}, "no usable range", 0},
		"untold part":      {response(206, -1, "", "Content-Range", "bytes 0-4/5"), question{}, "", 5},
		"told part":        {response(206, 5, "", "Content-Range", "bytes 0-4/5"), question{size: 5}, "", 5},
		"no total, size":   {response(206, 5, "", "Content-Range", "bytes 0-4/*"), question{size: 5}, "", 5},
		"no total":         {response(206, 5, "", "Content-Range", "bytes 0-4/*"), question{}, "Content-Range", 0},
		"total alone":      {response(206, 5, "", "Content-Range", "bytes */5"), question{}, "Content-Range", 0},
		"multipart alone":  {response(206, 5, "", "Content-Type", "multipart/"), question{}, "multipart", 0},
		"multipart not":    {response(206, 5, "", "Content-Type", "multipart", "Content-Range", "bytes 0-4/5"), question{}, "", 5},
		"416, end is here": {response(416, 0, "", "Content-Range", "bytes */5"), question{off: 5, ranged: true}, "changed", 0},
		"416, more behind": {response(416, 0, "", "Content-Range", "bytes */6"), question{off: 5, ranged: true}, "no usable range", 0},
	} {
		c.q.ranged = c.q.ranged || c.want == "no usable range"
		a, err := judge(c.res, c.q, time.Now())
		if c.want != "" {
			require.Nil(t, a, name)
			require.ErrorContains(t, err, c.want, name)
			continue
		}
		require.Nil(t, err, name)
		require.Equal(t, c.end, a.end, name)
		require.Equal(t, c.res.StatusCode == 206, a.partial, name)
	}
}

// Which statuses pass, and which count as a refusal.
func TestJudgeStatus(t *testing.T) {
	for code, verdict := range map[int]string{
		204: "status 204", 300: "status 300", 400: "status 400", 407: "status 407", 408: "", 409: "status 409", 425: "", 429: "",
		499: "status 499", 500: "", 599: "",
	} {
		e := judgeStatus(response(code, -1, "why"), time.Now())
		require.Equal(t, verdict, e.verdict, code)
		require.Equal(t, code >= 300, strings.HasSuffix(e.Err.Error(), `: "why"`), "%d: %v", code, e)
		require.NotContains(t, e.Error(), "at byte")
		e.Offset = 1
		require.Contains(t, e.Error(), "h at byte 1: ")
	}
	require.False(t, strings.HasSuffix(judgeStatus(response(404, 0, ""), time.Now()).Err.Error(), `""`))
	for code := 299; code < 310; code++ {
		require.Equal(t, code == 301 || code == 302 || code == 303 || code == 307 || code == 308, isRedirect(code), code)
	}
}

// Who cannot check the whole still goes on exactly where a validator allows it.
func TestUncheckedGoesOnUnderAValidator(t *testing.T) {
	inLab(t, Config{}, func(_ int, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"a"`)
		rest(w, r)
	}, func(t *testing.T, l *lab) {
		s := sidecar{
			Version:   1,
			Source:    sourceID(l.source().URL),
			Validator: validator{ETag: `"a"`},
			Total:     10000,
			Synced:    4000,
		}
		require.NoError(t, os.WriteFile(l.path, data[:4000], 0o600))
		require.NoError(t, s.write(l.path))
		f := l.file()
		f.Checked = false
		require.NoError(t, l.client.Fetch(t.Context(), l.source(), f))
		require.Equal(t, []string{`bytes=4000-9999 "a" @0`}, l.asked())
		l.holds(data, true)
	})
}
