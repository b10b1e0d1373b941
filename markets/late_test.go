package markets

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"quarry/api"
)

// A server that keeps a transfer alive byte by byte holds a place for as long as
// the deal can be published, and no longer.
func TestDrippingServerHoldsNoPlace(t *testing.T) {
	w := newWorld(t)
	car := w.car(w.file(2000, 9))
	begun, gone := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Length", strconv.FormatUint(car.Size, 10))
		if r.Method == http.MethodHead {
			return
		}
		_, _ = rw.Write([]byte{0})
		_ = http.NewResponseController(rw).Flush()
		close(begun)
		<-r.Context().Done()
		close(gone)
	}))
	defer srv.Close()
	id, err := w.propose(t.Context(), car, srv.URL)
	require.NoError(t, err)
	<-begun
	w.chain.grow(1000) // its start epoch
	info := w.reach(id, api.DealComplete)
	require.Equal(t, api.DealRetryFatal, info.Retry)
	require.Contains(t, info.Err, "cannot transfer deal")
	require.Contains(t, info.Err, "has passed deal proposal start epoch")
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Fatal("the transfer goes on")
	}
	w.unstaged(id)
}
