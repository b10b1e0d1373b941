package retrieve

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ours = "open /var/lib/miner/sealed/s-t01000-1: dial tcp 10.9.8.7:2345: token eyJhbGciOi.eyJBbGxvdy.c2lnbmF0dXJl " +
	"refused, see /ipfs/bafkqaaa"

const said = "open <path>: dial tcp <host>: token <token> refused, see /ipfs/bafkqaaa\n"

// Whoever makes an error on the way of a retrieval, its text names no path, host
// or token of ours; data that looks like one goes out as it is.
func TestErrorsOfRetrievalTellNothingOfThisHost(t *testing.T) {
	for code, want := range map[int]string{400: said, 404: said, 500: said, 503: said, 200: ours + "\n"} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/ipfs/x", nil)
		a := newAnswer(w, r, &track{}, time.Minute)
		a.WriteHeader(code)
		fmt.Fprintln(a, ours)
		a.finish()
		require.Equal(t, code, w.Code)
		require.Equal(t, want, w.Body.String())
	}
	w := httptest.NewRecorder()
	say(w, http.StatusServiceUnavailable, ours)
	require.Equal(t, said, w.Body.String())
}
