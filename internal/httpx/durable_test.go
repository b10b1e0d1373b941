package httpx

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What is on disk is written down before any byte of it is believed, and again at
// least every 30 seconds, never more than was synced.
func TestMarksAreMadeByTime(t *testing.T) {
	h := func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"a"`)
		w.Header().Set("Content-Length", "10000")
		for i := 0; i < len(data); i += 1000 {
			_, _ = w.Write(data[i : i+1000])
			_ = http.NewResponseController(w).Flush()
			time.Sleep(10 * time.Second)
		}
	}
	inLab(t, Config{}, h, func(t *testing.T, l *lab) {
		f, seen := l.file(), []int64{}
		f.Progress = func(done, total int64) {
			require.Equal(t, int64(10000), total)
			s, ok := readSidecar(l.path)
			require.True(t, ok, "before a byte is believed")
			require.Equal(t, sidecar{
				Version:   1,
				Source:    sourceID(l.source().URL),
				Validator: validator{ETag: `"a"`},
				Total:     10000,
				Synced:    s.Synced,
			}, s)
			require.Equal(t, int64(len(seen)+1)*1000, done)
			seen = append(seen, s.Synced)
		}
		require.NoError(t, l.client.Fetch(t.Context(), l.source(), f))
		require.Equal(t, []int64{0, 0, 0, 0, 4000, 4000, 4000, 7000, 7000, 7000}, seen)
		l.holds(data, true)
	})
}

func TestMarksAreMadeBySize(t *testing.T) {
	const size = syncBytes + 3*buffer
	h := func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = io.Copy(w, io.LimitReader(zeros{}, size))
	}
	inLab(t, Config{}, h, func(t *testing.T, l *lab) {
		src, f := l.source(), l.file()
		src.Size = size
		marks := map[int64]int64{}
		f.Progress = func(done, _ int64) {
			if s, _ := readSidecar(l.path); s.Synced > 0 && marks[s.Synced] == 0 {
				marks[s.Synced] = done
			}
		}
		require.NoError(t, l.client.Fetch(t.Context(), src, f))
		require.Len(t, marks, 1)
		for synced, at := range marks {
			require.GreaterOrEqual(t, synced, int64(syncBytes))
			require.Less(t, synced, int64(syncBytes+buffer))
			require.LessOrEqual(t, at-synced, int64(buffer), "the next bytes see it")
		}
	})
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// A restart is granted once, and only for bytes of more than one answer.
func TestRestart(t *testing.T) {
	inLab(t, Config{}, first(drop(0, 100), func(w http.ResponseWriter) { send(w, 100, len(data)) }, drop(0, 50)),
		func(t *testing.T, l *lab) {
			again, err := Restart(l.path)
			require.NoError(t, err)
			require.False(t, again, "nothing is known of it")

			require.NoError(t, l.client.Fetch(t.Context(), l.source(), l.file()))
			require.True(t, l.holds(data, true).Joined)
			again, err = Restart(l.path)
			require.NoError(t, err)
			require.True(t, again)
			s, ok := readSidecar(l.path)
			require.True(t, ok)
			require.Equal(t, sidecar{Version: 1, Source: sourceID(l.source().URL), Total: 10000, Restarted: true}, s)

			require.NoError(t, l.client.Fetch(t.Context(), l.source(), l.file()))
			require.Equal(t, []string{"bytes=0-9999 @0", "bytes=100-9999 @5", "bytes=0-9999 @5", "bytes=50-9999 @10"}, l.asked())
			s = l.holds(data, true)
			require.True(t, s.Joined && s.Restarted)
			again, err = Restart(l.path)
			require.NoError(t, err)
			require.False(t, again, "once")

			require.NoError(t, Forget(l.path))
			require.NoError(t, Forget(l.path))
			_, ok = readSidecar(l.path)
			require.False(t, ok)
		})
	inLab(t, Config{}, first(), func(t *testing.T, l *lab) {
		require.NoError(t, l.client.Fetch(t.Context(), l.source(), l.file()))
		again, err := Restart(l.path)
		require.NoError(t, err)
		require.False(t, again, "it came in one answer")
		l.holds(data, true)
	})
}

// Trouble of our disk ends a Fetch at once, costs the server one request, and is
// nobody else's fault.
func TestLocalTroubleIsOurs(t *testing.T) {
	inLab(t, Config{}, first(), func(t *testing.T, l *lab) {
		f := l.file()
		f.Path = filepath.Join(filepath.Dir(l.path), "no", "such")
		e := asError0(t, l.client.Fetch(t.Context(), l.source(), f))
		require.Equal(t, FaultLocal, e.Fault)
		require.False(t, e.Permanent)
		require.Empty(t, l.asked())

		require.NoError(t, os.Symlink("/dev/full", l.path))
		err := l.client.Fetch(t.Context(), l.source(), l.file())
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.ErrorContains(t, err, "free space there; it goes on from 0 bytes")
		require.Equal(t, FaultLocal, asError0(t, err).Fault)
		require.False(t, asError0(t, err).Permanent)
		require.Len(t, l.asked(), 1)

		require.NoError(t, os.Remove(l.path))
		require.NoError(t, os.RemoveAll(l.path+Suffix))
		require.NoError(t, os.MkdirAll(l.path+Suffix+"/in the way", 0o700))
		err = l.client.Fetch(t.Context(), l.source(), l.file())
		require.Equal(t, FaultLocal, asError0(t, err).Fault)
		require.Len(t, l.asked(), 2)
		st, err := os.Stat(l.path)
		require.NoError(t, err)
		require.Zero(t, st.Size(), "no byte before the sidecar")
		require.Equal(t, FaultLocal, asError0(t, Forget(l.path)).Fault)
	})
}

const trailer = "X-Sum"

func digested(l *lab) Source {
	src := l.source()
	src.Size, src.Segment = 0, 4000
	src.Digest = &Digest{Ask: http.Header{"X-Want": {"sha256"}}, Trailer: trailer, New: func() hash.Hash { return sha256.New() }}
	return src
}

// summed answers one segment with its digest; spoil changes the bytes sent.
func summed(t *testing.T, w http.ResponseWriter, r *http.Request, spoil func([]byte) []byte) {
	if r.Header.Get("X-Want") != "sha256" {
		t.Error("no digest was asked for")
	}
	a, z, code := 0, len(data), 200
	if r.Header.Get("Range") != "" {
		_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &a, &z)
		z, code = min(z+1, len(data)), 206
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", a, z-1, len(data)))
	}
	w.Header().Set("ETag", `"a"`)
	w.Header().Set("Trailer", trailer)
	w.WriteHeader(code)
	_, _ = w.Write(spoil(bytes.Clone(data[a:z])))
	sum := sha256.Sum256(data[a:z])
	w.Header().Set(trailer, hex.EncodeToString(sum[:]))
}

func asIs(b []byte) []byte { return b }

// Segments are believed one by one; what changed on the way is asked for again, and
// only it.
func TestSegmentsUnderDigest(t *testing.T) {
	flip := func(b []byte) []byte { b[7] ^= 1; return b }
	for name, c := range map[string]struct {
		spoil map[int]func([]byte) []byte
		asked []string
	}{
		"clean": {nil, []string{"bytes=0-3999 @0", `bytes=4000-7999 "a" @0`, `bytes=8000-11999 "a" @0`}},
		"flipped once": {map[int]func([]byte) []byte{2: flip}, []string{"bytes=0-3999 @0", `bytes=4000-7999 "a" @0`,
			`bytes=4000-7999 "a" @5`, `bytes=8000-11999 "a" @5`}},
		"longer": {map[int]func([]byte) []byte{1: func(b []byte) []byte { return append(b, 0) }}, []string{"bytes=0-3999 @0",
			"bytes=0-3999 @5", `bytes=4000-7999 "a" @5`, `bytes=8000-11999 "a" @5`}},
		"shorter": {map[int]func([]byte) []byte{3: func(b []byte) []byte { return b[:1] }}, []string{"bytes=0-3999 @0",
			`bytes=4000-7999 "a" @0`, `bytes=8000-11999 "a" @0`, `bytes=8000-11999 "a" @5`}},
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, Config{}, func(k int, w http.ResponseWriter, r *http.Request) {
				spoil := asIs
				if c.spoil[k] != nil {
					spoil = c.spoil[k]
				}
				summed(t, w, r, spoil)
			}, func(t *testing.T, l *lab) {
				f := l.file()
				f.Checked = false
				require.NoError(t, l.client.Fetch(t.Context(), digested(l), f))
				require.Equal(t, c.asked, l.asked())
				l.holds(data, true)
			})
		})
	}
}

// A segment that broke off counts nothing, on disk or as progress; one that is
// always wrong ends as ErrDigest.
func TestUnverifiedBytesCountNothing(t *testing.T) {
	inLab(t, Config{Attempts: 3, RetryMin: time.Second}, func(k int, w http.ResponseWriter, r *http.Request) {
		summed(t, w, r, func(b []byte) []byte {
			if k > 1 {
				b[k] ^= 1
			}
			return b
		})
	}, func(t *testing.T, l *lab) {
		err := l.client.Fetch(t.Context(), digested(l), l.file())
		require.ErrorIs(t, err, ErrDigest)
		e := asError0(t, err)
		require.True(t, e.Permanent)
		require.Equal(t, FaultServer, e.Fault)
		require.Equal(t, int64(4000), e.Offset)
		require.ErrorContains(t, err, "(bytes 4000 to 8000)")
		require.ErrorContains(t, err, "source.example at byte 4000: ")
		require.Len(t, l.asked(), 4)
		s, ok := readSidecar(l.path)
		require.True(t, ok)
		require.Equal(t, int64(4000), s.Synced)
	})
}

// A server that answers a segment with everything has other bytes now, or no
// ranges: the second time it is taken as it comes.
func TestSegmentsOfAServerWithoutRanges(t *testing.T) {
	inLab(t, Config{}, func(k int, w http.ResponseWriter, r *http.Request) {
		if k > 1 {
			r.Header.Del("Range")
		}
		summed(t, w, r, asIs)
	}, func(t *testing.T, l *lab) {
		require.NoError(t, l.client.Fetch(t.Context(), digested(l), l.file()))
		require.Equal(t, []string{"bytes=0-3999 @0", `bytes=4000-7999 "a" @0`, "bytes=0-3999 @0"}, l.asked())
		l.holds(data, true)
	})
}

// An empty file has no ranges.
func TestEmptyFile(t *testing.T) {
	inLab(t, Config{}, func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" {
			w.Header().Set("Content-Range", "bytes */0")
			w.WriteHeader(416)
		}
	}, func(t *testing.T, l *lab) {
		src := l.source()
		src.Size, src.Segment = 0, 100
		require.NoError(t, l.client.Fetch(t.Context(), src, l.file()))
		require.Equal(t, []string{"bytes=0-99 @0", " @0"}, l.asked())
		l.holds([]byte{}, true)
	})
}

// Sizes that nobody named are bounded, and told by the end.
func TestUnknownSize(t *testing.T) {
	inLab(t, Config{Refusals: 1}, func(k int, w http.ResponseWriter, _ *http.Request) {
		switch k {
		case 1:
			_, _ = w.Write(data) // chunked
		case 2:
			w.Header().Set("Content-Length", fmt.Sprint(maxBytes+1))
			_ = http.NewResponseController(w).Flush()
		}
	}, func(t *testing.T, l *lab) {
		src := l.source()
		src.Size = 0
		require.NoError(t, l.client.Fetch(t.Context(), src, l.file()))
		require.Equal(t, []string{" @0"}, l.asked())
		require.Equal(t, int64(10000), l.holds(data, true).Total)
		src.URL += "other"
		require.ErrorContains(t, l.client.Fetch(t.Context(), src, l.file()), "bytes are too many")
	})
}

func TestDecodeSidecarRefuses(t *testing.T) {
	id := sourceID("x")
	good := `{"Version":1,"Source":"` + id + `",` +
		`"Validator":{"ETag":"\"a\"","LastModified":"Mon, 02 Jan 2006 15:04:05 GMT","Dated":true},` +
		`"Total":10,"Synced":10,"Done":true,"Joined":false,"Restarted":false}`
	s, err := decodeSidecar([]byte(good))
	require.NoError(t, err)
	require.Equal(t, sidecar{
		Version:   1,
		Source:    id,
		Validator: validator{`"a"`, "Mon, 02 Jan 2006 15:04:05 GMT", true},
		Total:     10,
		Synced:    10,
		Done:      true,
	}, s)
	for old, now := range map[string]string{
		`"Version":1`:   `"Version":2`,
		`"Total":10`:    `"Total":9`,
		`"Synced":10`:   `"Synced":-1`,
		`"Joined"`:      `"Jined"`,
		`"\"a\""`:       `"W/\"a\""`,
		`Mon, 02`:       `Mon, 99`,
		id[:4]:          "zzzz",
		id[:6]:          "",
		`true}`:         `true`,
		`"Done":true`:   `"Synced":9,"Done":true`,
		`"Restarted":f`: `"Total":-2,"Done":false,"Restarted":f`,
		`"Restarted":t`: ``,
	} {
		bad := strings.Replace(good, old, now, 1)
		if old == `"Restarted":t` {
			bad += strings.Repeat(" ", maxSidecar)
		}
		_, err := decodeSidecar([]byte(bad))
		require.Error(t, err, bad)
	}
	for _, fine := range []string{
		strings.Replace(good, `"Total":10,"Synced":10,"Done":true`, `"Total":-1,"Synced":10,"Done":false`, 1),
		strings.Replace(good, `"Total":10,"Synced":10,"Done":true`, fmt.Sprintf(`"Total":%d,"Synced":0,"Done":false`, maxBytes), 1),
		good + strings.Repeat(" ", maxSidecar-len(good)),
	} {
		_, err := decodeSidecar([]byte(fine))
		require.NoError(t, err, fine)
	}
	_, err = decodeSidecar([]byte(strings.Replace(good, `"Total":10,"Synced":10,"Done":true`,
		fmt.Sprintf(`"Total":%d,"Synced":0,"Done":false`, maxBytes+1), 1)))
	require.Error(t, err)
}

func FuzzSidecar(f *testing.F) {
	f.Add([]byte(`{"Version":1,"Source":"` + sourceID("x") + `","Validator":{"ETag":"\"a\""},"Total":10,"Synced":5}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSidecar(b)
		if err != nil {
			return
		}
		if s.Synced < 0 || s.Total > maxBytes || s.Done && s.Total != s.Synced || strings.ContainsAny(s.Validator.ifRange(), "\r\n") {
			t.Fatalf("accepted %+v", s)
		}
	})
}
