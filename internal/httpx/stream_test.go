package httpx

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Streams go on where they were: each request, and whether parts were joined.
func TestStreamGoesOn(t *testing.T) {
	const all = "bytes=0-9999"
	whole := func(w http.ResponseWriter) { _, _ = w.Write(data) }
	for name, c := range map[string]struct {
		h      answerer
		asked  []string
		joined bool
	}{
		"at once": {first(), []string{all + " @0"}, false},
		"drops": {first(tagged(`"a"`, drop(0, 300)), status(503), tagged(`"a"`, drop(300, 9999)), tagged(`"a"`, drop(9999, 10000))),
			[]string{all + " @0", `bytes=300-9999 "a" @5`, `bytes=300-9999 "a" @12.5`, `bytes=9999-9999 "a" @17.5`}, true},
		"drops, no validator": {first(drop(0, 300)), []string{all + " @0", "bytes=300-9999 @5"}, true},
		"capped parts at once": {func(_ int, w http.ResponseWriter, r *http.Request) { send(w, start(r), min(start(r)+4000, len(data))) },
			[]string{all + " @0", "bytes=4000-9999 @0", "bytes=8000-9999 @0"}, true},
		"failures before the first byte": {first(status(503), status(404)), []string{all + " @0", all + " @5", all + " @12.5"}, false},
		"416 to everything": {func(_ int, w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(416)
				return
			}
			whole(w)
		}, []string{all + " @0", " @0"}, false},
		"416 to a resume": {first(drop(0, 300), status(416, "Content-Range", "bytes */10000"),
			status(416, "Content-Range", "bytes */10000"),
			whole),
			[]string{all + " @0", "bytes=300-9999 @5", "bytes=300-9999 @5", " @5"}, true},
		"everything in answer to a part": {first(tagged(`"a"`, drop(0, 300)), tagged(`"a"`, whole)), []string{all + " @0",
			`bytes=300-9999 "a" @5`}, true},
		"cut while what is known goes by": {first(drop(0, 300), func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "10000")
			_, _ = w.Write(data[:299])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}), []string{all + " @0", "bytes=300-9999 @5", "bytes=300-9999 @12.5"}, true},
		"longer than it says": {first(func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 0-99/10000")
			w.WriteHeader(206)
			_, _ = w.Write(data[:5000])
		}, func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 100-199/10000")
			w.WriteHeader(206)
			_, _ = w.Write(data[100:5000])
		}), []string{all + " @0", "bytes=100-9999 @0", "bytes=200-9999 @0"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, Config{}, c.h, func(t *testing.T, l *lab) {
				s, err := l.client.Open(t.Context(), l.source())
				require.NoError(t, err)
				defer s.Close() //nolint:errcheck // gives none
				require.Empty(t, l.asked(), "nothing before the first Read")
				b, err := io.ReadAll(s)
				require.NoError(t, err)
				require.True(t, bytes.Equal(data, b))
				require.Equal(t, c.asked, l.asked())
				require.Equal(t, c.joined, s.Joined())
				n, err := s.Read(make([]byte, 1))
				require.Zero(t, n)
				require.Equal(t, io.EOF, err)
			})
		})
	}
}

// Streams that end before their end: what was read, why, and never as io.EOF.
func TestStreamGivesUp(t *testing.T) {
	shrunk := func(w http.ResponseWriter) { sendOf(w, 300, 400, 400, 9999) }
	for name, c := range map[string]struct {
		h         answerer
		read      int
		gets      int
		seconds   float64
		changed   bool
		permanent bool
		fault     Fault
		text      string
	}{
		"validator changed": {first(tagged(`"a"`, drop(0, 300)), tagged(`"b"`, drop(300, 10000))), 300, 2, 5, true, false, FaultServer,
			"validator differs"},
		"other bytes in answer to a part": {first(tagged(`"a"`, drop(0, 300)), tagged(`"b"`, func(w http.ResponseWriter) {
			_,
				_ = w.Write(data)
		})),
			300, 2, 5, true, false, FaultServer, "validator differs"},
		"shorter now": {first(drop(0, 300), shrunk), 300, 2, 5, true, false, FaultServer, "it has 9999 bytes"},
		"ends before": {first(drop(0, 300), status(416, "Content-Range", "bytes */300")), 300, 2, 5, true, false, FaultServer,
			"it ends before"},
		"always broken": {func(_ int, w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, 0, 3, 12.5, false, false,
			FaultNetwork, "unexpected end"},
		"cut at one place": {func(_ int, w http.ResponseWriter, r *http.Request) {
			sendOf(w, start(r), max(300, start(r)), 10000, 10000)
		}, 300, 4, 5 + 7.5 + 11.25, false, true, FaultNetwork, "connection ended after 300 of 10000 bytes"},
		"refused": {func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, 0, 2, 5, false, true, FaultServer,
			"403"},
		"shorter than known": {func(_ int, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data[:99]) }, 0, 2, 5, false, true,
			FaultServer, "99 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, Config{Attempts: 3, Refusals: 2}, c.h, func(t *testing.T, l *lab) {
				s, err := l.client.Open(t.Context(), l.source())
				require.NoError(t, err)
				defer s.Close() //nolint:errcheck // gives none
				b, err := io.ReadAll(s)
				require.True(t, bytes.Equal(data[:c.read], b), "%d bytes", len(b))
				require.ErrorContains(t, err, c.text)
				require.NotErrorIs(t, err, io.EOF)
				require.NotErrorIs(t, err, io.ErrUnexpectedEOF)
				require.Equal(t, c.changed, errors.Is(err, ErrChanged))
				e := asError0(t, err)
				require.Equal(t, c.permanent, e.Permanent)
				require.Equal(t, c.fault, e.Fault)
				require.Equal(t, "source.example", e.Host)
				require.Equal(t, int64(c.read), e.Offset)
				require.Len(t, l.asked(), c.gets)
				require.Equal(t, c.seconds, time.Since(l.begun).Seconds())
				_, again := s.Read(make([]byte, 1))
				require.Equal(t, err, again, "an error stays")
			})
		})
	}
}

// Progress of one stream resets what was counted before it.
func TestStreamCountsFromItsProgress(t *testing.T) {
	inLab(t, Config{Attempts: 1, RetryMin: time.Second}, func(_ int, w http.ResponseWriter, r *http.Request) {
		sendOf(w, start(r), min(start(r)+1000, len(data)), len(data), len(data))
	}, func(t *testing.T, l *lab) {
		s, err := l.client.Open(t.Context(), l.source())
		require.NoError(t, err)
		b, err := io.ReadAll(s)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, b))
		require.Len(t, l.asked(), 10)
		require.Equal(t, 9*time.Second, time.Since(l.begun))
		require.NoError(t, s.Close())
	})
}

// Who reads slowly is not a server that stalls; limits and contexts end a stream.
func TestStreamLimits(t *testing.T) {
	slow := func(_ int, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10000")
		_, _ = w.Write(data[:5000])
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(50 * time.Second):
		case <-r.Context().Done():
			return
		}
		_, _ = w.Write(data[5000:])
	}
	inLab(t, Config{}, slow, func(t *testing.T, l *lab) {
		s, err := l.client.Open(t.Context(), l.source())
		require.NoError(t, err)
		one := make([]byte, 1)
		_, err = s.Read(one)
		require.NoError(t, err)
		time.Sleep(time.Hour) // our disk hangs
		b, err := io.ReadAll(s)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data[1:], b))
		require.Len(t, l.asked(), 1)
		require.NoError(t, s.Close())
	})
	inLab(t, Config{Stall: 49 * time.Second, Attempts: 1}, slow, func(t *testing.T, l *lab) {
		s, err := l.client.Open(t.Context(), l.source())
		require.NoError(t, err)
		b, err := io.ReadAll(s)
		require.Len(t, b, 5000)
		require.ErrorContains(t, err, "no data for 49s")
		require.NoError(t, s.Close())
	})
	inLab(t, Config{Whole: 40 * time.Second}, slow, func(t *testing.T, l *lab) {
		s, err := l.client.Open(t.Context(), l.source())
		require.NoError(t, err)
		_, err = io.ReadAll(s)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "not finished within 40s")
		require.False(t, asError0(t, err).Permanent)
		require.Equal(t, 40*time.Second, time.Since(l.begun))
		require.NoError(t, s.Close())
	})
	inLab(t, Config{}, first(drop(0, 10)), func(t *testing.T, l *lab) {
		ctx, cancel := context.WithCancel(t.Context())
		s, err := l.client.Open(ctx, l.source())
		require.NoError(t, err)
		time.AfterFunc(time.Second, cancel)
		b, err := io.ReadAll(s)
		require.Len(t, b, 10)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, time.Second, time.Since(l.begun))
		n, err := s.Read(nil)
		require.Zero(t, n)
		require.NoError(t, err)
		require.NoError(t, s.Close())
	})
	inLab(t, Config{}, first(), func(t *testing.T, l *lab) {
		s, err := l.client.Open(t.Context(), Source{URL: "http://source.example/", Size: 0})
		require.NoError(t, err)
		_, err = s.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		require.NoError(t, s.Close())
		_, err = l.client.Open(t.Context(), Source{URL: "ftp://source.example/", Size: 5})
		require.Equal(t, FaultCaller, asError0(t, err).Fault)
		require.Empty(t, l.asked())
	})
}
