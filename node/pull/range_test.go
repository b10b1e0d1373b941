package pull

import (
	"bytes"
	"context"
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

// A stream gives its bytes in order, by one request, whatever else is read.
func TestStreams(t *testing.T) {
	want := payload(padded / 128 * 127)
	var asked []int64
	_, r := newBench(t, &source{ReaderAt: bytes.NewReader(want), size: int64(len(want))}, func(b *bench, _ *PusherConfig) {
		b.link = func(ctx context.Context, r api.PushRequest) error {
			asked = append(asked, r.From, r.Length)
			return b.push.SectorPush(ctx, r)
		}
	})
	x := open(t, r)
	for _, c := range []struct{ off, n, gives int64 }{{5, 1 << 20, 1 << 20}, {x.Size() - 10, 20, 10}, {x.Size(), 5, 0},
		{x.Size() + 9, 5, 0}, {7, 0, 0}} {
		s := x.Stream(c.off, c.n)
		got, err := io.ReadAll(s)
		require.NoError(t, err)
		require.Len(t, got, int(c.gives))
		require.True(t, c.gives == 0 || bytes.Equal(want[c.off:c.off+c.gives], got))
		require.NoError(t, s.Close())
		_, err = s.Read(make([]byte, 1))
		require.Error(t, err)
	}
	require.Equal(t, []int64{0, 0, 5, 1 << 20, x.Size() - 10, 10}, asked)
	s := x.Stream(0, x.Size())
	_, err := s.Read(make([]byte, 1))
	require.NoError(t, err)
	require.NoError(t, s.Close(), "in the middle")
}

// streamed is a source that gives streams.
type streamed struct {
	UnsealedReader
	asked []int64
}

func (s *streamed) Stream(off, n int64) io.ReadCloser {
	s.asked = append(s.asked, off, n)
	return io.NopCloser(strings.NewReader("abc"))
}

// A source is read by one long request where it offers that.
func TestPushesStreams(t *testing.T) {
	src := &streamed{UnsealedReader: &source{ReaderAt: zeros{}, size: 10}}
	for _, from := range []UnsealedReader{src, src.UnsealedReader} {
		b, err := io.ReadAll(inOrder(from, api.PushRequest{From: 4, Length: 3}))
		require.NoError(t, err)
		require.Equal(t, from == UnsealedReader(src), string(b) == "abc")
		require.Len(t, b, 3)
	}
	require.Equal(t, []int64{4, 3}, src.asked)
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
