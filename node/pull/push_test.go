package pull

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/internal/secret"
)

// source is the payload of one range, at the private node.
type source struct {
	io.ReaderAt
	size   int64
	open   atomic.Int64
	read   atomic.Int64 // bytes
	opened func(ctx context.Context, s abi.SectorID) error
}

func (s *source) Size() int64  { return s.size }
func (s *source) Close() error { s.open.Add(-1); return nil }

func (s *source) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.ReaderAt.ReadAt(p, off)
	s.read.Add(int64(n))
	return n, err
}

func (s *source) OpenUnsealed(ctx context.Context, id abi.SectorID, _, _ abi.PaddedPieceSize) (UnsealedReader, error) {
	if s.opened != nil {
		if err := s.opened(ctx, id); err != nil {
			return nil, err
		}
	}
	s.open.Add(1)
	return s, nil
}

// zeros is a payload of any size.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

func payload(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{9}).Read(b) // never fails
	return b
}

// bench is both sides of reading, with the link replaced by a call.
type bench struct {
	src   *source
	at    *Acceptor
	push  *Pusher
	url   string
	front func(http.Handler) http.Handler
	link  func(ctx context.Context, r api.PushRequest) error
}

func (b *bench) SectorPush(ctx context.Context, r api.PushRequest) error { return b.link(ctx, r) }

func newBench(t *testing.T, src *source, change func(*bench, *PusherConfig)) (*bench, *Reader) {
	t.Helper()
	b := &bench{src: src}
	mux := http.NewServeMux()
	b.at = NewAcceptor(AcceptorConfig{}, AcceptorDeps{})
	b.at.Handle(func(pattern string, _ api.Permission, h http.Handler) { mux.Handle(pattern, h) })
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b.front != nil {
			b.front(mux).ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	b.url = srv.URL
	cfg := PusherConfig{Base: srv.URL, Token: secret.New("l.i.nk")}
	if change != nil {
		change(b, &cfg)
	}
	b.push = NewPusher(cfg, PusherDeps{Reader: src})
	t.Cleanup(b.push.Close)
	if b.link == nil {
		b.link = b.push.SectorPush
	}
	t.Cleanup(func() { require.Zero(t, src.open.Load(), "ranges are closed") })
	return b, NewReader(ReaderDeps{Link: b, At: b.at})
}

var sector = abi.SectorID{Miner: 1000, Number: 3}

const padded = 4 << 20 // a range; its payload is 127/128 of it

func open(t *testing.T, r *Reader) *Range {
	t.Helper()
	x, err := r.OpenUnsealed(t.Context(), sector, 1<<20, padded)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, x.Close()) })
	return x
}

// Whatever is read of a range, in whatever order, is what is there.
func TestReadsWhatIsThere(t *testing.T) {
	want := payload(padded / 128 * 127)
	_, r := newBench(t, &source{ReaderAt: bytes.NewReader(want), size: int64(len(want))}, nil)
	x := open(t, r)
	require.Equal(t, int64(len(want)), x.Size())
	got, err := io.ReadAll(io.NewSectionReader(x, 0, x.Size()))
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	dice := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		off := dice.IntN(len(want))
		p := make([]byte, 1+dice.IntN(300<<10))
		n, err := x.ReadAt(p, int64(off))
		end := min(off+len(p), len(want))
		require.True(t, bytes.Equal(want[off:end], p[:n]), "%d+%d", off, len(p))
		if end < off+len(p) {
			require.ErrorIs(t, err, io.EOF)
		} else {
			require.NoError(t, err)
		}
	}
	for _, off := range []int64{x.Size(), x.Size() + 1} {
		n, err := x.ReadAt(make([]byte, 1), off)
		require.Zero(t, n)
		require.ErrorIs(t, err, io.EOF)
	}
	_, err = x.ReadAt(make([]byte, 1), -1)
	require.ErrorContains(t, err, "negative")
	require.NoError(t, x.Close())
	_, err = x.ReadAt(make([]byte, 1), 0)
	require.ErrorIs(t, err, errClosed)
}

// Reading in order asks for more and more at once, a seek begins again small.
func TestWindows(t *testing.T) {
	var asked []int64
	src := &source{ReaderAt: zeros{}, size: 1 << 40}
	_, r := newBench(t, src, func(b *bench, _ *PusherConfig) {
		b.link = func(ctx context.Context, r api.PushRequest) error {
			if asked = append(asked, r.From, r.Length); r.Length > 0 {
				return b.push.SectorPush(ctx, r)
			}
			return nil
		}
	})
	x, err := r.OpenUnsealed(t.Context(), sector, 0, 32<<30)
	require.NoError(t, err)
	p := make([]byte, 64<<10)
	for off := int64(0); off < 6<<20; off += int64(len(p)) {
		_, err := x.ReadAt(p, off)
		require.NoError(t, err)
	}
	_, err = x.ReadAt(p, 6<<20+skipBytes) // over a gap
	require.NoError(t, err)
	_, err = x.ReadAt(p, 0)
	require.NoError(t, err)
	_, err = x.ReadAt(make([]byte, 2*firstWindow), 1<<30)
	require.NoError(t, err)
	_, err = x.ReadAt(p, x.Size()-10)
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, x.Close())
	const w = firstWindow
	require.Equal(t, []int64{0, 0, 0, w, w, 4 * w, 5 * w, 16 * w, 21 * w, 64 * w, 0, w, 1 << 30, 2 * w, x.Size() - 10, 10}, asked)
}

// What is not read is not sent: a range of 32 GiB costs buffers of the kernel.
func TestReaderThatDoesNotRead(t *testing.T) {
	src := &source{ReaderAt: zeros{}, size: 1 << 40}
	_, r := newBench(t, src, nil)
	x, err := r.OpenUnsealed(t.Context(), sector, 0, 32<<30)
	require.NoError(t, err)
	x.window = lastWindow
	_, err = x.ReadAt(make([]byte, 1), 0)
	require.NoError(t, err)
	before := int64(-1)
	eventually(t, "the sender waits", func() bool {
		time.Sleep(20 * time.Millisecond)
		now := src.read.Load()
		same := now == before
		before = now
		return same
	})
	require.Less(t, before, int64(32<<20))
	require.NoError(t, x.Close())
	eventually(t, "the range is closed", func() bool { return src.open.Load() == 0 })
}

// A place takes one push, of its length, with the right digest, and no other.
func TestPlaces(t *testing.T) {
	b, _ := newBench(t, &source{ReaderAt: bytes.NewReader(payload(1000)), size: 1000}, nil)
	put := func(id, length, digest, body string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, b.url+routePush+id, io.NopCloser(strings.NewReader(body)))
		require.NoError(t, err)
		req.Header.Set(headerLength, length)
		req.Trailer = http.Header{trailerDigest: {digest}}
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(text)
	}
	defer http.DefaultClient.CloseIdleConnections()
	const good = "324dcf027dd4a30a932c441f365a25e86b173defa4b8e58948253471b81b72cf" // BLAKE2b-256 of "abc" is bddd...
	sum := newDigest()
	_, _ = sum.Write([]byte("abc"))
	right := hexOf(sum.Sum(nil))
	require.NotEqual(t, good, right)
	for name, c := range map[string]struct {
		length, digest, body string
		code                 int
		want                 string // error of the reader
	}{
		"right":          {"3", right, "abc", 200, ""},
		"other length":   {"4", right, "abc", 400, "nothing"},
		"no length":      {"", right, "abc", 400, "nothing"},
		"short":          {"3", right, "ab", 422, "unexpected EOF"},
		"long":           {"3", right, "abcd", 422, "more bytes"},
		"other bytes":    {"3", right, "abd", 422, "digest is another"},
		"no digest":      {"3", "", "abc", 422, "digest is another"},
		"another digest": {"3", good, "abc", 422, "digest is another"},
	} {
		t.Run(name, func(t *testing.T) {
			id, at, closed, err := b.at.places.make(3)
			require.NoError(t, err)
			got := make(chan string, 1)
			go func() {
				select {
				case d := <-at.came:
					text, err := io.ReadAll(d)
					if err != nil {
						got <- err.Error()
						return
					}
					got <- "read " + string(text)
				case <-at.gone:
					got <- "nothing"
				}
			}()
			code, text := put(id, c.length, c.digest, c.body)
			require.Equal(t, c.code, code, text)
			closed()
			if said := <-got; c.want == "" {
				require.Equal(t, "read abc", said)
			} else {
				require.Contains(t, said, c.want)
			}
			code, _ = put(id, "3", right, "abc")
			require.Equal(t, http.StatusGone, code, "an id is good once")
		})
	}
	code, _ := put(strings.Repeat("0", 32), "3", right, "abc")
	require.Equal(t, http.StatusGone, code)
	id, _, closed, err := b.at.places.make(3)
	require.NoError(t, err)
	closed()
	code, _ = put(id, "3", right, "abc")
	require.Equal(t, http.StatusGone, code, "nobody waits")
	p := newPlaces(time.Millisecond)
	id, _, closed, err = p.make(1)
	require.NoError(t, err)
	defer closed()
	eventually(t, "its time is over", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.open) == 0 })
	require.Nil(t, p.take(id))
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var out strings.Builder
	for _, c := range b {
		out.WriteByte(digits[c>>4])
		out.WriteByte(digits[c&15])
	}
	return out.String()
}

func TestPlacesAreBounded(t *testing.T) {
	p := newPlaces(time.Minute)
	for range maxPlaces {
		_, _, closed, err := p.make(1)
		require.NoError(t, err)
		defer closed()
	}
	var busy *api.ErrBusy
	_, _, _, err := p.make(1)
	require.ErrorAs(t, err, &busy)
}

// Errors of the private node are those of the reader.
func TestErrorsOfThePrivateNode(t *testing.T) {
	missing := &api.ErrNotFound{What: "unsealed range"}
	src := &source{ReaderAt: bytes.NewReader(payload(padded / 128 * 127)), size: padded / 128 * 127}
	b, r := newBench(t, src, nil)
	src.opened = func(context.Context, abi.SectorID) error { return missing }
	var got *api.ErrNotFound
	_, err := r.OpenUnsealed(t.Context(), sector, 0, padded)
	require.ErrorAs(t, err, &got)

	src.opened = nil
	x := open(t, r)
	src.opened = func(context.Context, abi.SectorID) error { return missing }
	_, err = x.ReadAt(make([]byte, 10), 0)
	require.ErrorAs(t, err, &got)
	src.opened = nil
	src.ReaderAt = io.NewSectionReader(zeros{}, 0, 100<<10) // the disk ends too early
	_, err = x.ReadAt(make([]byte, 200<<10), 0)
	require.Error(t, err)

	var away *api.ErrUnreachable
	b.link = func(context.Context, api.PushRequest) error { return nil } // says so, and sends nothing
	_, err = x.ReadAt(make([]byte, 10), 0)
	require.ErrorAs(t, err, &away)
	require.Contains(t, err.Error(), "none came")
}

// A reader whose context ends gets its error at once, whether it waits for the
// first byte or for the next one.
func TestReaderThatGivesUp(t *testing.T) {
	stuck, release := make(chan struct{}, 1), make(chan struct{})
	src := &source{ReaderAt: zeros{}, size: 1 << 40}
	_, r := newBench(t, src, func(b *bench, _ *PusherConfig) {
		b.link = func(ctx context.Context, r api.PushRequest) error {
			if r.From == 7 {
				stuck <- struct{}{}
				<-ctx.Done()
				return ctx.Err()
			}
			done := make(chan error, 1)
			go func() { done <- b.push.SectorPush(ctx, r) }()
			select {
			case err := <-done:
				return err
			case <-ctx.Done(): // as over a link, whatever the other side does
				return ctx.Err()
			}
		}
	})
	src.ReaderAt = &stopsAt{at: 1 << 20, stuck: stuck, release: release}
	for _, off := range []int64{7, 1<<20 - 5} {
		ctx, cancel := context.WithCancel(t.Context())
		x, err := r.OpenUnsealed(ctx, sector, 0, 32<<30)
		require.NoError(t, err)
		go func() { <-stuck; cancel() }()
		_, err = x.ReadAt(make([]byte, 100), off)
		require.Error(t, err)
		if off != 7 {
			close(release)
		}
		require.NoError(t, x.Close())
	}
	eventually(t, "the range is closed", func() bool { return src.open.Load() == 0 })
}

// stopsAt hangs, as a disk does, where a read reaches a place.
type stopsAt struct {
	at      int64
	stuck   chan struct{}
	release chan struct{}
	once    sync.Once
}

func (s *stopsAt) ReadAt(p []byte, off int64) (int, error) {
	if off < s.at && off+int64(len(p)) > s.at {
		p = p[:s.at-off]
	} else if off >= s.at {
		s.once.Do(func() { s.stuck <- struct{}{} })
		<-s.release
	}
	clear(p)
	return len(p), nil
}

// The pusher refuses what names no range or no place, asks nobody for it, and
// pushes to its own host only.
func TestPushRequests(t *testing.T) {
	id := strings.Repeat("ab", idBytes)
	good := api.PushRequest{ID: id, Sector: sector, Offset: 128, Size: 256, From: 4, Length: 250}
	require.NoError(t, checkPush(good))
	largest := good
	largest.Offset, largest.Size, largest.From, largest.Length = maxSectorBytes, maxSectorBytes, maxSectorBytes, maxSectorBytes
	require.NoError(t, checkPush(largest))
	require.NoError(t, checkPush(api.PushRequest{Size: 128}))
	for name, spoil := range map[string]func(*api.PushRequest){
		"no size":       func(r *api.PushRequest) { r.Size = 0 },
		"odd size":      func(r *api.PushRequest) { r.Size = 257 },
		"odd offset":    func(r *api.PushRequest) { r.Offset = 1 },
		"huge size":     func(r *api.PushRequest) { r.Size = maxSectorBytes + 128 },
		"huge offset":   func(r *api.PushRequest) { r.Offset = maxSectorBytes + 128 },
		"before":        func(r *api.PushRequest) { r.From = -1 },
		"far":           func(r *api.PushRequest) { r.From = maxSectorBytes + 1 },
		"negative":      func(r *api.PushRequest) { r.Length = -1 },
		"huge":          func(r *api.PushRequest) { r.Length = maxSectorBytes + 1 },
		"nothing there": func(r *api.PushRequest) { r.Length = 0 },
		"no place":      func(r *api.PushRequest) { r.ID = "" },
		"a path":        func(r *api.PushRequest) { r.ID = "../link" },
		"a host":        func(r *api.PushRequest) { r.ID = "@evil.example/x" },
		"short id":      func(r *api.PushRequest) { r.ID = id[2:] },
		"long id":       func(r *api.PushRequest) { r.ID = id + "ab" },
		"not hex":       func(r *api.PushRequest) { r.ID = "zz" + id[2:] },
	} {
		r := good
		spoil(&r)
		p := NewPusher(PusherConfig{Base: "http://127.0.0.1:1"}, PusherDeps{Reader: nil})
		var invalid *api.ErrInvalid
		require.ErrorAs(t, p.SectorPush(t.Context(), r), &invalid, name)
	}
	src := &source{ReaderAt: zeros{}, size: 254}
	p := NewPusher(PusherConfig{Base: "http://127.0.0.1:1"}, PusherDeps{Reader: src})
	var away *api.ErrUnreachable
	require.ErrorAs(t, p.SectorPush(t.Context(), good), &away)
	good.Length++
	var invalid *api.ErrInvalid
	require.ErrorAs(t, p.SectorPush(t.Context(), good), &invalid)
	require.Contains(t, invalid.Reason, "254 payload bytes, not 4+251")
	require.Zero(t, src.open.Load())
}

// A redirect is not followed, and what the other side says is shown without its
// control characters.
func TestPushIsNotSentElsewhere(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("somebody else is asked") }))
	defer elsewhere.Close()
	base := serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer l.i.nk" {
			t.Errorf("%v", r.Header)
		}
		w.Header().Set("Location", elsewhere.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
		_, _ = io.WriteString(w, "go on\x1b[2J there") // seen by the client
	}))
	src := &source{ReaderAt: zeros{}, size: 1 << 30}
	p := NewPusher(PusherConfig{Base: base, Token: secret.New("l.i.nk")}, PusherDeps{Reader: src})
	defer p.Close()
	err := p.SectorPush(t.Context(), api.PushRequest{ID: strings.Repeat("ab", idBytes), Sector: sector, Size: 128, Length: 100})
	require.ErrorContains(t, err, "307 Temporary Redirect: go on[2J there")
}

// So many pushes at once and no more; one that the other side does not take ends.
func TestPushesAreBounded(t *testing.T) {
	came, end := make(chan struct{}, 2), make(chan struct{})
	defer close(end)
	base := serveHTTP(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		came <- struct{}{}
		<-end
	}))
	src := &source{ReaderAt: zeros{}, size: 1 << 40}
	p := NewPusher(PusherConfig{Base: base, Pushes: 2, Stall: 300 * time.Millisecond}, PusherDeps{Reader: src})
	defer p.Close()
	ask := api.PushRequest{ID: strings.Repeat("ab", idBytes), Sector: sector, Size: 32 << 30, Length: 1 << 34}
	errs := make(chan error, 2)
	for range 2 {
		go func() { errs <- p.SectorPush(t.Context(), ask) }()
	}
	<-came
	<-came
	var busy *api.ErrBusy
	require.ErrorAs(t, p.SectorPush(t.Context(), ask), &busy)
	for range 2 {
		require.ErrorContains(t, <-errs, errStalled.Error())
	}
	require.Zero(t, src.open.Load())
}

// The data of a deal is fetched from the markets node of the config, whatever the
// message names.
func TestStagedFrom(t *testing.T) {
	const id = "00000000-0000-4000-8000-00000000abcd"
	var got []string
	var inner api.SealingStruct
	inner.Internal.SectorAddPiece = func(_ context.Context, r api.AddPieceRequest) (api.PiecePlacement, error) {
		got = append(got, r.Data.URL)
		return api.PiecePlacement{Offset: 5}, nil
	}
	inner.Internal.SectorPlacement = func(context.Context, string) (api.PiecePlacement, error) { return api.PiecePlacement{}, errTest }
	s := StagedFrom("https://markets.example/sub/", &inner)
	for _, u := range []string{"http://10.0.0.1:9/staged/" + id, "https://markets.example/other/staged/" + id, "/staged/" + id, ""} {
		at, err := s.SectorAddPiece(t.Context(), api.AddPieceRequest{Data: api.DataRef{URL: u}})
		require.NoError(t, err)
		require.Equal(t, abi.PaddedPieceSize(5), at.Offset)
	}
	const want = "https://markets.example/sub/staged/" + id
	require.Equal(t, []string{want, want, want, ""}, got)
	for _, u := range []string{"http://169.254.169.254/latest/meta-data", "http://x/staged/", "http://x/staged/" + id + "/..", "http://x/staged/" + id + "?x=1",
		"http://x/staged/" + id + "#x", "http://u@x/staged/" + id, "http://x/staged/..%2f..%2f" + id, "http://x/staged/" + id[1:], "://", "file:///etc/passwd"} {
		_, err := s.SectorAddPiece(t.Context(), api.AddPieceRequest{Data: api.DataRef{URL: u}})
		var invalid *api.ErrInvalid
		require.ErrorAs(t, err, &invalid, u)
	}
	require.Len(t, got, 4)
	_, err := s.SectorPlacement(t.Context(), "key")
	require.True(t, errors.Is(err, errTest))
}
