package httpx

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestContentRange(t *testing.T) {
	for h, want := range map[string]contentRange{
		"bytes 0-9/10":            {0, 10, 10},
		"Bytes 0-9/10":            {0, 10, 10},
		"BYTES 3-3/*":             {3, 4, unknown},
		"bytes=5-9/10":            {5, 10, 10},
		" bytes \t 5-9/10 ":       {5, 10, 10},
		"bytes */10":              {unknown, unknown, 10},
		"bytes */0":               {unknown, unknown, 0},
		"bytes 0-2199023255551/*": {0, maxBytes, unknown},
		"bytes 0-0/2199023255552": {0, 1, maxBytes},
		"bytes 00-09/010":         {0, 10, 10},
	} {
		got, err := parseContentRange(h)
		require.NoError(t, err, h)
		require.Equal(t, want, got, h)
	}
	for _, h := range []string{
		"", "bytes", "bytes ", "bytesx0-9/10", "items 0-9/10", "bytes 0-9", "bytes 0-10/10", "bytes 5-4/10", "bytes -5/10", "bytes 5-/10",
		"bytes */*", "bytes 0-9/", "bytes +0-9/10", "bytes 0-9/10,", "bytes 0-9/-1", "bytes 0-9/10/11", "bytes a-9/10", "bytes 0-9/1 0",
		"bytes 0-9/2199023255553", "bytes 0-9/99999999999999999999", "bytes 0-99999999999999999999/*", "bytes 0 - 9/10",
	} {
		_, err := parseContentRange(h)
		require.ErrorContains(t, err, "Content-Range", h)
	}
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-9/10", "bytes */10", "Bytes=5-9/*", "bytes 9-0/1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, h string) {
		cr, err := parseContentRange(h)
		if err != nil {
			return
		}
		if cr.start == unknown && cr.end == unknown && cr.total >= 0 && cr.total <= maxBytes {
			return
		}
		if cr.start < 0 || cr.end <= cr.start || cr.total != unknown && cr.end > cr.total || cr.total > maxBytes {
			t.Fatalf("%q: %+v", h, cr)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		v, date string
		want    time.Duration
	}{
		{"", "", 0},
		{"0", "", 0},
		{"7", "", 7 * time.Second},
		{" 7 ", "", 7 * time.Second},
		{"-7", "", 0},
		{"1.5", "", 0},
		{"soon", "", 0},
		{"2147483648", "", maxSeconds * time.Second},
		{"2147483649", "", maxSeconds * time.Second},
		{"99999999999999999999", "", maxSeconds * time.Second},
		{"Wed, 01 May 2030 12:00:30 GMT", "", 30 * time.Second},
		{"Wed, 01 May 2030 11:59:30 GMT", "", 0},
		{"Wed, 01 May 2030 12:00:30 GMT", "Wed, 01 May 2030 12:00:20 GMT", 10 * time.Second},
		{"Wed, 01 May 2030 12:00:30 GMT", "nonsense", 30 * time.Second},
		{"Fri, 01 May 9998 12:00:30 GMT", "", maxSeconds * time.Second},
	} {
		h := http.Header{}
		h.Set("Retry-After", c.v)
		h.Set("Date", c.date)
		require.Equal(t, c.want, retryAfter(h, now), "%+v", c)
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120", "")
	f.Add("Wed, 01 May 2030 12:00:30 GMT", "Wed, 01 May 2030 12:00:20 GMT")
	f.Fuzz(func(t *testing.T, v, date string) {
		d := retryAfter(http.Header{"Retry-After": {v}, "Date": {date}}, time.Unix(1e9, 0))
		if d < 0 || d > maxSeconds*time.Second {
			t.Fatalf("%q %q: %s", v, date, d)
		}
	})
}

func TestValidator(t *testing.T) {
	const lm, second, moment = "Mon, 02 Jan 2006 15:04:05 GMT", "Mon, 02 Jan 2006 15:04:06 GMT", "Mon, 02 Jan 2006 15:04:05 GMT"
	long := `"` + strings.Repeat("x", maxETag-2) + `"`
	for _, c := range []struct {
		etag, lm, date string
		want           validator
		ifRange        string
	}{
		{`"a"`, "", "", validator{ETag: `"a"`}, `"a"`},
		{`""`, "", "", validator{ETag: `""`}, `""`},
		{"\"a\xff!\"", "", "", validator{ETag: "\"a\xff!\""}, "\"a\xff!\""},
		{long, "", "", validator{ETag: long}, long},
		{long[:2] + long[1:], "", "", validator{}, ""},
		{`W/"a"`, "", "", validator{}, ""},
		{`a`, "", "", validator{}, ""},
		{`"`, "", "", validator{}, ""},
		{`"a`, "", "", validator{}, ""},
		{`a"`, "", "", validator{}, ""},
		{`"a"b"`, "", "", validator{}, ""},
		{"\"a b\"", "", "", validator{}, ""},
		{"\"a\x7f\"", "", "", validator{}, ""},
		{"", lm, second, validator{LastModified: lm, Dated: true}, lm},
		{"", lm, moment, validator{LastModified: lm}, ""},
		{"", lm, "", validator{LastModified: lm}, ""},
		{"", "yesterday", second, validator{}, ""},
		{`"a"`, lm, second, validator{`"a"`, lm, true}, `"a"`},
	} {
		v := validatorOf(http.Header{"Etag": {c.etag}, "Last-Modified": {c.lm}, "Date": {c.date}})
		require.Equal(t, c.want, v, "%+v", c)
		require.Equal(t, c.ifRange, v.ifRange(), "%+v", c)
		require.True(t, v.valid(), "%+v", c)
	}
	for _, bad := range []validator{{ETag: "a"}, {LastModified: "x"}, {Dated: true}} {
		require.False(t, bad.valid(), "%+v", bad)
	}
	for _, c := range []struct {
		was, now validator
		same     bool
	}{
		{validator{ETag: `"a"`}, validator{ETag: `"a"`, LastModified: lm}, true},
		{validator{ETag: `"a"`, LastModified: lm}, validator{ETag: `"a"`, LastModified: second}, true},
		{validator{ETag: `"a"`}, validator{ETag: `"b"`}, false},
		{validator{ETag: `"a"`, LastModified: lm}, validator{LastModified: lm}, false},
		{validator{LastModified: lm}, validator{LastModified: lm}, true},
		{validator{LastModified: lm}, validator{LastModified: second}, false},
		{validator{LastModified: lm}, validator{}, true},
		{validator{}, validator{ETag: `"b"`, LastModified: lm}, true},
	} {
		require.Equal(t, c.same, c.was.sameAs(c.now), "%+v", c)
	}
}

func TestSpanOf(t *testing.T) {
	for _, c := range []struct {
		code    int
		length  int64
		span    string
		want    Span
		refused bool
	}{
		{200, 7, "bytes 0-0/9", Span{0, 7, 7}, false},
		{200, 0, "", Span{}, false},
		{200, maxBytes, "", Span{0, maxBytes, maxBytes}, false},
		{200, maxBytes + 1, "", Span{}, true},
		{200, -1, "", Span{}, true},
		{206, 1, "bytes 3-4/9", Span{3, 5, 9}, false},
		{206, 1, "bytes 0-0/*", Span{}, true},
		{206, 1, "bytes */9", Span{}, true},
		{206, 1, "", Span{}, true},
	} {
		got, err := SpanOf(&http.Response{StatusCode: c.code, ContentLength: c.length, Header: http.Header{"Content-Range": {c.span}}})
		require.Equal(t, c.refused, err != nil, "%+v", c)
		if err == nil {
			require.Equal(t, c.want, got, "%+v", c)
		}
	}
}

// A served file's validator is strong, and follows size, time and inode.
func TestETag(t *testing.T) {
	dir := t.TempDir()
	name, at := filepath.Join(dir, "a"), time.Unix(1e9, 123456789)
	tag := func(content string, mtime time.Time, fresh bool) string {
		if fresh {
			require.NoError(t, os.WriteFile(name+"2", []byte(content), 0o600))
			require.NoError(t, os.Rename(name+"2", name))
		} else {
			require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
		}
		require.NoError(t, os.Chtimes(name, mtime, mtime))
		st, err := os.Stat(name)
		require.NoError(t, err)
		require.True(t, strongETag(ETag(st)), ETag(st))
		require.True(t, strings.HasPrefix(ETag(st), fmt.Sprintf(`"%x-%x-`, len(content), mtime.UnixNano())), ETag(st))
		return ETag(st)
	}
	was := tag("one", at, false)
	require.Equal(t, was, tag("two", at, false), "same size, time and inode")
	require.NotEqual(t, was, tag("three", at, false))
	require.NotEqual(t, was, tag("one", at.Add(1), false))
	require.NotEqual(t, was, tag("one", at, true))
}
