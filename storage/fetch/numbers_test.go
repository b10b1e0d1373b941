package fetch

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// A bad number in a path is the caller's mistake.
func TestBadNumbersInAPathAre400(t *testing.T) {
	s := serve(t, nil)
	writeUnsealed(t, s, randomBytes(127*1024), 0)
	for path, code := range map[string]int{
		"/unsealed/s-t01000-5/allocated/0/131072":                     200,
		"/unsealed/s-t01000-5/allocated/131072/128":                   416,
		"/unsealed/s-t01000-5/allocated/4611686018427387903/128":      416,
		"/unsealed/s-t01000-5/allocated/4611686018427387904/128":      400,
		"/unsealed/s-t01000-5/allocated/0/4611686018427387904":        400,
		"/unsealed/s-t01000-5/allocated/x/128":                        400,
		"/unsealed/s-t01000-5/allocated/0/1x":                         400,
		"/unsealed/s-t01000-5/allocated/-1/128":                       400,
		"/unsealed/s-t01000-5/allocated/0/99999999999999999999":       400,
		"/unsealed/s-t01000-99/allocated/0/128":                       404,
		"/unsealed/s-t01000-99/allocated/0/y":                         400,
		"/sealed/s-t01000-x/allocated/0/128":                          400,
		"/unsealed/s-t099999999999999999999-1/allocated/0/128":        400,
		"/unsealed/s-t01000-5/file/../allocated/0/128/nothing/at/all": 404,
	} {
		res, err := http.Get(s.url + path) //nolint:noctx // test
		require.NoError(t, err)
		_ = res.Body.Close()
		require.Equal(t, code, res.StatusCode, path)
	}
	http.DefaultClient.CloseIdleConnections()
}
