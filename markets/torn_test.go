package markets

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/internal/httpx"
)

// A power cut tears what was staged, and the server names no validator: the
// commitment finds it, the payload is pulled once more from its first byte, and the
// deal goes on. A server whose payload is wrong is pulled from once more, no more.
func TestTornStagingFileCostsNoDeal(t *testing.T) {
	for name, wrong := range map[string]bool{"right payload": false, "wrong payload": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			car := w.car(w.file(200_000, 9))
			data, err := os.ReadFile(car.Path)
			require.NoError(t, err)
			if wrong {
				data = bytes.Repeat([]byte{1}, len(data))
			}
			half, n := len(data)/2, len(data)
			begun := make(chan struct{})
			var gets atomic.Int32
			var asked [4]string
			srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				k, a := gets.Add(1), 0
				asked[k] = r.Header.Get("Range")
				_, _ = fmt.Sscanf(asked[k], "bytes=%d-", &a)
				rw.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", a, n-1, n))
				rw.Header().Set("Content-Length", strconv.Itoa(n-a))
				rw.WriteHeader(http.StatusPartialContent)
				if k > 1 {
					_, _ = rw.Write(data[a:])
					return
				}
				_, _ = rw.Write(data[:half])
				_ = http.NewResponseController(rw).Flush()
				close(begun)
				<-r.Context().Done()
			}))
			defer srv.Close()
			id, err := w.propose(t.Context(), car, srv.URL)
			require.NoError(t, err)
			<-begun
			path := w.m.deals.StagedPath(id)
			require.Eventually(t, func() bool {
				st, err := os.Stat(path)
				return err == nil && st.Size() == int64(half)
			}, 20*time.Second, time.Millisecond)
			w.stop()
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteAt(make([]byte, 64<<10), int64(half)-64<<10)
			require.NoError(t, err)
			require.NoError(t, f.Close())

			w.start()
			all, rest := fmt.Sprintf("bytes=0-%d", n-1), fmt.Sprintf("bytes=%d-%d", half, n-1)
			if wrong {
				info := w.reach(id, api.DealComplete)
				require.Equal(t, api.DealRetryFatal, info.Retry)
				require.Contains(t, info.Err, "commp mismatch")
				w.unstaged(id)
				require.NoFileExists(t, path+httpx.Suffix)
			} else {
				require.Empty(t, w.reach(id, api.DealIndexed).Err)
			}
			require.Equal(t, [4]string{"", all, rest, all}, asked)
		})
	}
}
