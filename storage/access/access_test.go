package access

import (
	"crypto/ed25519"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

const base = "http://worker:3456/remote"

var file = File{Base: base, Type: api.FileSealed, Sector: abi.SectorID{Miner: 1000, Number: 7}}

func keyOf(n byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed)
}

func signer(n byte) *Signer { return NewSigner(func() ed25519.PrivateKey { return keyOf(n) }) }

func checker(t *testing.T, at string, keys Keys) *Checker {
	t.Helper()
	c, err := NewChecker(at, keys)
	require.NoError(t, err)
	return c
}

func made(t *testing.T, s *Signer, f File, del bool) string {
	t.Helper()
	b, err := s.Bearer(f, del)
	require.NoError(t, err)
	require.Equal(t, 5*time.Minute, b.Valid)
	return b.Token
}

// A bearer opens its file and its parts, for its use, at its process.
func TestBearerOpensOneFile(t *testing.T) {
	s := signer(1)
	cache := File{Base: base, Type: api.FileUpdateCache, Sector: file.Sector}
	for name, c := range map[string]struct {
		f            File
		del          bool
		method, path string
		opens        bool
	}{
		"the file":              {file, false, "GET", "/remote/sealed/s-t01000-7", true},
		"its length":            {file, false, "HEAD", "/remote/sealed/s-t01000-7", true},
		"deleting it":           {file, true, "DELETE", "/remote/sealed/s-t01000-7", true},
		"deleting with a query": {file, true, "DELETE", "/remote/sealed/s-t01000-7?keep=a.b", true},
		"a member":              {cache, false, "GET", "/remote/update-cache/s-t01000-7/file/p_aux", true},
		"a name in escapes":     {file, false, "GET", "/remote/%73ealed/s-t01000-7", true},

		"GET to delete":          {file, false, "DELETE", "/remote/sealed/s-t01000-7", false},
		"GET to put":             {file, false, "PUT", "/remote/sealed/s-t01000-7", false},
		"DELETE to read":         {file, true, "GET", "/remote/sealed/s-t01000-7", false},
		"DELETE to look":         {file, true, "HEAD", "/remote/sealed/s-t01000-7", false},
		"another sector":         {file, false, "GET", "/remote/sealed/s-t01000-8", false},
		"a longer number":        {file, false, "GET", "/remote/sealed/s-t01000-77", false},
		"another miner":          {file, false, "GET", "/remote/sealed/s-t01001-7", false},
		"another kind":           {file, false, "GET", "/remote/cache/s-t01000-7", false},
		"a kind that begins so":  {File{base, api.FileUpdate, file.Sector}, false, "GET", "/remote/update-cache/s-t01000-7", false},
		"another route":          {file, false, "GET", "/rpc/v1", false},
		"a state":                {file, false, "GET", "/remote/stat/a", false},
		"the file elsewhere":     {file, false, "GET", "/other/remote/sealed/s-t01000-7", false},
		"up and down":            {file, false, "GET", "/remote/sealed/s-t01000-7/../s-t01000-8", false},
		"up and down in escapes": {file, false, "GET", "/remote/sealed/s-t01000-7/%2e%2e/s-t01000-8", false},
		"two slashes":            {file, false, "GET", "/remote//sealed/s-t01000-7", false},
	} {
		r := httptest.NewRequestWithContext(t.Context(), c.method, "http://worker:3456"+c.path, nil)
		err := checker(t, base+"/", s).Check(r, made(t, s, c.f, c.del))
		require.Equal(t, c.opens, err == nil, "%s: %v", name, err)
		require.Equal(t, !c.opens, errors.Is(err, ErrRefused), name)
	}
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/remote/sealed/s-t01000-7", nil)
	require.ErrorIs(t, checker(t, "http://other:3456/remote", s).Check(r, made(t, s, file, false)), ErrRefused, "at another process")
}

// Five minutes, by clocks that may differ by one, and not longer.
func TestClocksMayDifferByAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := signer(1), checker(t, base, signer(1))
		token := made(t, s, file, false)
		for ahead, opens := range map[time.Duration]bool{
			-time.Minute - 2*time.Second:   false, // made in the future
			-time.Minute:                   true,
			0:                              true,
			5 * time.Minute:                true,
			6*time.Minute - 2*time.Second:  true,
			6*time.Minute + 2*time.Second:  false,
			100 * time.Minute:              false,
			-100 * time.Minute:             false,
			5*time.Minute + 30*time.Second: true,
		} {
			c.now = func() time.Time { return time.Now().Add(ahead) }
			r := httptest.NewRequestWithContext(t.Context(), "GET", "/remote/sealed/s-t01000-7", nil)
			err := c.Check(r, token)
			require.Equal(t, opens, err == nil, "a clock %s ahead: %v", ahead, err)
		}
	})
}

// What looks like a bearer and is none, and tokens of the API.
func TestForgedBearers(t *testing.T) {
	s := signer(1)
	good := made(t, s, file, false)
	parts := strings.Split(good, ".")
	sign := func(m jwt.SigningMethod, key any, kid any, c claims) string {
		tok := jwt.NewWithClaims(m, c)
		tok.Header["kid"] = kid
		text, err := tok.SignedString(key)
		require.NoError(t, err)
		return text
	}
	now := time.Now()
	id := s.Public().ID
	all := claims{File: "sealed/s-t01000-7", Method: "GET", RegisteredClaims: jwt.RegisteredClaims{
		Audience: jwt.ClaimStrings{base}, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(time.Minute))}}
	forever := all
	forever.ExpiresAt = nil
	anywhere := all
	anywhere.Audience = nil
	nofile := all
	nofile.File = ""
	require.NoError(t, check(t, s, sign(method, keyOf(1), id, all)), "the form of the others is right")
	for name, token := range map[string]string{
		"no token":                   "",
		"nonsense":                   "a.b.c",
		"another's key":              sign(method, keyOf(2), id, all),
		"another's key by its name":  sign(method, keyOf(2), signer(2).Public().ID, all),
		"no name of a key":           sign(method, keyOf(1), nil, all),
		"a number as name":           sign(method, keyOf(1), 7, all),
		"no algorithm":               sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, id, all),
		"the public key as a secret": sign(jwt.SigningMethodHS256, []byte(s.Public().Public), id, all),
		"never ends":                 sign(method, keyOf(1), id, forever),
		"for any process":            sign(method, keyOf(1), id, anywhere),
		"for no file":                sign(method, keyOf(1), id, nofile),
		"no signature":               parts[0] + "." + parts[1] + ".",
		"cut":                        good[:len(good)-2],
		"two parts":                  parts[0] + "." + parts[1],
		"longer than looked at":      good + strings.Repeat("A", 2<<10),
	} {
		require.ErrorIs(t, check(t, s, token), ErrRefused, name)
	}
	require.True(t, Is(good))
	require.False(t, Is(strings.Repeat("A", maxBearer+1)+"."+parts[1]+"."+parts[2]))
	for _, other := range []string{"", "a.b.c", sign(jwt.SigningMethodHS256, []byte("x"), nil, all)} {
		require.False(t, Is(other), other)
	}
}

func check(t *testing.T, s *Signer, token string) error {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/remote/sealed/s-t01000-7", nil)
	return checker(t, base, s).Check(r, token)
}

// A key that is replaced takes its bearers with it.
func TestReplacedKey(t *testing.T) {
	n := byte(1)
	s := NewSigner(func() ed25519.PrivateKey { return keyOf(n) })
	old := made(t, s, file, false)
	require.NoError(t, check(t, s, old))
	n = 2
	require.ErrorIs(t, check(t, s, old), ErrRefused)
	require.NoError(t, check(t, s, made(t, s, file, false)))
}

// One form of each URL, so that it cannot belong to two.
func TestCleanBase(t *testing.T) {
	for raw, want := range map[string]string{
		"http://w:3456/remote":      "http://w:3456/remote",
		"http://w:3456/remote//":    "http://w:3456/remote",
		"HTTP://W:3456/remote":      "http://w:3456/remote",
		"http://w:80/remote":        "http://w/remote",
		"https://w:443/x/remote/":   "https://w/x/remote",
		"https://w:80/remote":       "https://w:80/remote",
		"http://[::1]:80/remote":    "http://[::1]/remote",
		"http://w":                  "http://w",
		"http://w/Remote":           "http://w/Remote",
		"":                          "",
		"ftp://w/remote":            "",
		"http:///remote":            "",
		"http://:80/remote":         "",
		"http://u@w/remote":         "",
		"http://u:p@w/remote":       "",
		"http://w/remote?a":         "",
		"http://w/remote?":          "",
		"http://w/remote#a":         "",
		"http://w/a/../remote":      "",
		"http://w/a//remote":        "",
		"http://w/./remote":         "",
		"http://w\x00/remote":       "",
		"http://w/" + long(500-9):   "http://w/" + long(500-9),
		"http://w/" + long(500-9+1): "",
	} {
		got, err := CleanBase(raw)
		require.Equal(t, want, got, raw)
		var invalid *api.ErrInvalid
		require.Equal(t, want == "", errors.As(err, &invalid), raw)
	}
	_, err := NewChecker("http://u@w/remote", signer(1))
	require.Error(t, err)
}

func long(n int) string { return strings.Repeat("x", n) }

func TestParseURL(t *testing.T) {
	got, err := ParseURL(base + "/sealed/s-t01000-7")
	require.NoError(t, err)
	require.Equal(t, file, got)
	for _, bad := range []string{
		"", "x", "/", "//", "sealed/s-t01000-7", "/sealed/s-t01000-7", base + "/sealed/s-t01000-7/", base + "/sealed/s-t01000-7?a=b",
		base + "/sealed/s-t01000-7#a", base + "/scaled/s-t01000-7", base + "/sealed/x", "http://u@w/remote/sealed/s-t01000-7",
		base + "/cache/s-t01000-7/file/p_aux", base + "/sealed/s-t01000-%37",
	} {
		_, err := ParseURL(bad)
		var invalid *api.ErrInvalid
		require.ErrorAs(t, err, &invalid, bad)
	}
}

// FuzzCheck: whatever is shown, nothing but the signed file opens.
func FuzzCheck(f *testing.F) {
	s := signer(1)
	b, err := s.Bearer(file, false)
	require.NoError(f, err)
	f.Add(b.Token, "/remote/sealed/s-t01000-7")
	f.Add("a.b.c", "/remote/sealed/s-t01000-8")
	f.Add(b.Token, "/remote/sealed/s-t01000-7/../s-t01000-8")
	c, err := NewChecker(base, s)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, token, name string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://w/", nil)
		require.NoError(t, err)
		r.URL.Path = name
		if c.Check(r, token) == nil {
			require.True(t, Is(token))
			require.True(t, name == "/remote/sealed/s-t01000-7" || strings.HasPrefix(name, "/remote/sealed/s-t01000-7/"), name)
			require.NotContains(t, name+"/", "/../")
		}
	})
}
