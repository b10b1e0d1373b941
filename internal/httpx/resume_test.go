package httpx

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A context that ends keeps what came, and says why it ended.
func TestFetchEndsWithItsContext(t *testing.T) {
	why := errors.New("the lease is gone")
	for _, when := range []string{"in an answer", "in a wait", "before"} {
		inLab(t, Config{}, func(k int, w http.ResponseWriter, r *http.Request) {
			if when == "in a wait" {
				drop(0, 700)(w)
			}
			w.Header().Set("Content-Length", "10000")
			_, _ = w.Write(data[:700])
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, func(t *testing.T, l *lab) {
			ctx, cancel := context.WithCancelCause(t.Context())
			if when == "before" {
				cancel(why)
			}
			time.AfterFunc(3*time.Second, func() { cancel(why) })
			err := l.client.Fetch(ctx, l.source(), l.file())
			require.ErrorIs(t, err, context.Canceled, when)
			require.ErrorIs(t, err, why)
			require.False(t, asError0(t, err).Permanent)
			if when == "before" {
				require.Empty(t, l.asked())
				return
			}
			require.Equal(t, []string{"bytes=0-9999 @0"}, l.asked())
			require.Equal(t, 3*time.Second, time.Since(l.begun))
			l.holds(data[:700], false)
		})
	}
}

// What an earlier process left is believed as far as it was synced, and only for
// the same source.
func TestFetchBelievesWhatWasSynced(t *testing.T) {
	const all, tail = "bytes=0-9999 @0", `bytes=4000-9999 "a" @0`
	other := validator{ETag: `"a"`}
	for name, c := range map[string]struct {
		disk   []byte
		spoil  func(s *sidecar)
		asked  string
		joined bool
	}{
		"all synced":        {data[:4000], nil, tail, true},
		"zeros behind":      {append(bytes.Clone(data[:4000]), make([]byte, 3000)...), nil, tail, true},
		"shorter than said": {data[:3999], nil, all, false},
		"another URL":       {data[:4000], func(s *sidecar) { s.Source = sourceID("http://other/") }, all, false},
		"another size":      {data[:4000], func(s *sidecar) { s.Total = 9999 }, all, false},
		"unknown size":      {data[:4000], func(s *sidecar) { s.Total = unknown }, tail, true},
		"another version":   {data[:4000], func(s *sidecar) { s.Version = 2 }, all, false},
		"nothing synced":    {data[:4000], func(s *sidecar) { s.Synced = 0 }, all, false},
		"no validator":      {data[:4000], func(s *sidecar) { s.Validator = validator{} }, "bytes=4000-9999 @0", true},
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, Config{}, func(_ int, w http.ResponseWriter, r *http.Request) {
				st, err := os.Stat(strings.TrimPrefix(r.Header.Get("X-Path"), "="))
				if err != nil || st.Size() != int64(start(r)) {
					t.Errorf("%v: the file has %d bytes while %s is asked for", err, st.Size(), r.Header.Get("Range"))
				}
				w.Header().Set("ETag", `"a"`)
				rest(w, r)
			}, func(t *testing.T, l *lab) {
				s := sidecar{
					Version:   1,
					Source:    sourceID(l.source().URL),
					Validator: other,
					Total:     10000,
					Synced:    4000,
				}
				if c.spoil != nil {
					c.spoil(&s)
				}
				require.NoError(t, os.WriteFile(l.path, c.disk, 0o600))
				require.NoError(t, s.write(l.path))
				src := l.source()
				src.Header = http.Header{"X-Path": {l.path}}
				require.NoError(t, l.client.Fetch(t.Context(), src, l.file()))
				require.Equal(t, []string{c.asked}, l.asked())
				require.Equal(t, c.joined, l.holds(data, true).Joined)
			})
		})
	}
	t.Run("unchecked, no validator", func(t *testing.T) {
		inLab(t, Config{}, first(), func(t *testing.T, l *lab) {
			s := sidecar{Version: 1, Source: sourceID(l.source().URL), Total: 10000, Synced: 4000}
			require.NoError(t, os.WriteFile(l.path, data[:4000], 0o600))
			require.NoError(t, s.write(l.path))
			f := l.file()
			f.Checked = false
			require.NoError(t, l.client.Fetch(t.Context(), l.source(), f))
			require.Equal(t, []string{all}, l.asked())
		})
	})
	t.Run("bare file", func(t *testing.T) {
		inLab(t, Config{}, first(), func(t *testing.T, l *lab) {
			require.NoError(t, os.WriteFile(l.path, data, 0o600))
			require.NoError(t, l.client.Fetch(t.Context(), l.source(), l.file()))
			require.Equal(t, []string{all}, l.asked())
		})
	})
}

// Who cannot check the whole never puts parts together without a validator, and
// asks whether a complete file is still the same.
func TestFetchUnchecked(t *testing.T) {
	n := len(data)
	unchecked := func(l *lab) File {
		f := l.file()
		f.Checked = false
		return f
	}
	h := func(k int, w http.ResponseWriter, r *http.Request) {
		if k == 1 {
			drop(0, 100)(w)
		}
		_, _ = w.Write(data)
	}
	inLab(t, Config{}, h, func(t *testing.T, l *lab) {
		require.NoError(t, l.client.Fetch(t.Context(), l.source(), unchecked(l)))
		require.Equal(t, []string{"bytes=0-9999 @0", " @5"}, l.asked())
		l.holds(data, true)
	})
	inLab(t, Config{Attempts: 3, RetryMin: time.Second}, func(_ int, w http.ResponseWriter, r *http.Request) {
		send(w, start(r), min(start(r)+4000, n))
	}, func(t *testing.T, l *lab) {
		err := l.client.Fetch(t.Context(), l.source(), unchecked(l))
		require.ErrorIs(t, err, errNoHold)
		require.Equal(t, []string{"bytes=0-9999 @0", " @0", " @1", " @2.5"}, l.asked())
		require.True(t, asError0(t, err).Permanent)
	})
	tag := `"a"`
	inLab(t, Config{}, func(_ int, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", tag)
		if v := r.Header.Get("If-Range"); v != "" && v != tag {
			_, _ = w.Write(data)
			return
		}
		rest(w, r)
	}, func(t *testing.T, l *lab) {
		src := l.source()
		src.Size = 0
		require.NoError(t, l.client.Fetch(t.Context(), src, unchecked(l)))
		require.NoError(t, l.client.Fetch(t.Context(), src, unchecked(l)))
		require.NoError(t, os.WriteFile(l.path, make([]byte, n), 0o600)) // what is there is not looked at,
		tag = `"b"`                                                      // but the source is other now
		require.NoError(t, l.client.Fetch(t.Context(), src, unchecked(l)))
		require.Equal(t, []string{" @0", `bytes=9999- "a" @0`, `bytes=9999- "a" @0`}, l.asked())
		require.Equal(t, `"b"`, l.holds(data, true).Validator.ETag)
	})
	inLab(t, Config{}, first(), func(t *testing.T, l *lab) { // and a checked one is not asked about
		for range 2 {
			require.NoError(t, l.client.Fetch(t.Context(), l.source(), l.file()))
		}
		require.Len(t, l.asked(), 1)
	})
}
