package blobs

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"quarry/api"
	"quarry/storage/blobs/blobstest"
)

type request struct {
	method, name string
	body         io.Reader
	code         int
}

// requests are what can be asked of a store with one blob, and the answers.
func requests(t *testing.T, kept, fresh api.BlobRef) map[string]request {
	t.Helper()
	huge := blobstest.Bytes(blobstest.Max + 1)
	return map[string]request{
		"get":             {http.MethodGet, string(kept.CID), nil, http.StatusOK},
		"head":            {http.MethodHead, string(kept.CID), nil, http.StatusOK},
		"get missing":     {http.MethodGet, string(blobstest.Ref(t, []byte("x")).CID), nil, http.StatusNotFound},
		"head missing":    {http.MethodHead, string(blobstest.Ref(t, []byte("x")).CID), nil, http.StatusNotFound},
		"put":             {http.MethodPut, string(fresh.CID), strings.NewReader("fresh"), http.StatusCreated},
		"put again":       {http.MethodPut, string(kept.CID), strings.NewReader("kept"), http.StatusCreated},
		"put other bytes": {http.MethodPut, string(fresh.CID), strings.NewReader("frosh"), http.StatusUnprocessableEntity},
		"put too large":   {http.MethodPut, string(blobstest.Ref(t, huge).CID), bytes.NewReader(huge), http.StatusRequestEntityTooLarge},
		"put without size": {http.MethodPut, string(blobstest.Ref(t, huge).CID), io.MultiReader(bytes.NewReader(huge)),
			http.StatusRequestEntityTooLarge},
		"put cut short":     {http.MethodPut, string(fresh.CID), errReader{io.ErrUnexpectedEOF}, http.StatusRequestTimeout},
		"put on a full one": {http.MethodPut, string(fresh.CID), errReader{unix.ENOSPC}, http.StatusInsufficientStorage},
		"put over quota":    {http.MethodPut, string(fresh.CID), errReader{unix.EDQUOT}, http.StatusInsufficientStorage},
		"delete":            {http.MethodDelete, string(kept.CID), nil, http.StatusMethodNotAllowed},
		"no name":           {http.MethodGet, "", nil, http.StatusBadRequest},
		"a path":            {http.MethodGet, "../secret", nil, http.StatusBadRequest},
	}
}

// TestHandler answers by the table.
func TestHandler(t *testing.T) {
	s := newStore(t)
	kept, err := s.BlobPut(t.Context(), strings.NewReader("kept"))
	require.NoError(t, err)
	fresh := blobstest.Ref(t, []byte("fresh"))
	for name, c := range requests(t, kept, fresh) {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(c.method, Route, c.body)
			r.URL.Path = Route + c.name
			Handler(s).ServeHTTP(w, r)
			require.Equal(t, c.code, w.Code, w.Body)
			if name == "get" {
				require.Equal(t, "kept", w.Body.String())
				require.Equal(t, `"`+string(kept.CID)+`"`, w.Header().Get("ETag"))
			}
			if name == "delete" {
				require.Equal(t, "GET, HEAD, PUT", w.Header().Get("Allow"))
			}
		})
	}
}

// TestHandlerOfOtherThings: ranges, HEAD, and a store that is broken.
func TestHandlerOfOtherThings(t *testing.T) {
	s := newStore(t)
	kept, err := s.BlobPut(t.Context(), strings.NewReader("kept"))
	require.NoError(t, err)
	fresh := blobstest.Ref(t, []byte("fresh"))
	t.Run("a range", func(t *testing.T) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, Route+string(kept.CID), nil)
		r.Header.Set("Range", "bytes=1-2")
		Handler(s).ServeHTTP(w, r)
		require.Equal(t, http.StatusPartialContent, w.Code)
		require.Equal(t, "ep", w.Body.String())
	})
	t.Run("head keeps it from being swept", func(t *testing.T) {
		then := time.Now().Add(-2 * time.Hour)
		require.NoError(t, os.Chtimes(s.path(kept.CID), then, then))
		Handler(s).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodHead, Route+string(kept.CID), nil))
		_, err := s.SweepUnnamed(nil, time.Hour)
		require.NoError(t, err)
		require.Contains(t, files(t, s), string(kept.CID))
	})
	t.Run("broken store", func(t *testing.T) {
		require.NoError(t, os.RemoveAll(s.cfg.Dir))
		require.NoError(t, os.WriteFile(s.cfg.Dir, nil, 0o600))
		for _, method := range []string{http.MethodGet, http.MethodPut} {
			w := httptest.NewRecorder()
			Handler(s).ServeHTTP(w, httptest.NewRequest(method, Route+string(fresh.CID), strings.NewReader("fresh")))
			require.Equal(t, http.StatusInternalServerError, w.Code)
		}
	})
}

// TestBodiesHaveToKeepComing: a deadline for each read, and one for all.
func TestBodiesHaveToKeepComing(t *testing.T) {
	var set []time.Duration
	start := time.Now()
	p := &paced{r: strings.NewReader("abc"), end: start.Add(90 * time.Second), deadline: func(at time.Time) error {
		set = append(set, at.Sub(start).Round(time.Second))
		return nil
	}}
	_, err := io.ReadAll(p)
	require.NoError(t, err)
	require.NoError(t, p.err)
	require.Equal(t, stallTime, set[0])
	p.end = start.Add(30 * time.Second)
	_, _ = p.Read(make([]byte, 1))
	require.Equal(t, 30*time.Second, set[len(set)-1])
}

// TestTooManyBodies are asked to come again.
func TestTooManyBodies(t *testing.T) {
	s := newStore(t)
	h := Handler(s)
	ref := blobstest.Ref(t, []byte("proof"))
	hold := make(chan struct{})
	done := make(chan int, maxPuts)
	put := func(body io.Reader) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPut, Route+string(ref.CID), body))
		return w
	}
	started := make(chan struct{}, maxPuts)
	for range maxPuts {
		go func() {
			done <- put(readerFunc(func([]byte) (int, error) { started <- struct{}{}; <-hold; return 0, net.ErrClosed })).Code
		}()
	}
	for range maxPuts {
		<-started
	}
	w := put(strings.NewReader("proof"))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, "10", w.Header().Get("Retry-After"))
	close(hold)
	for range maxPuts {
		require.Equal(t, http.StatusRequestTimeout, <-done)
	}
	require.Equal(t, http.StatusCreated, put(strings.NewReader("proof")).Code)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
