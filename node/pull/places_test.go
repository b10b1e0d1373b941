package pull

import (
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"quarry/api"
)

// putAt pushes body by hand.
func putAt(t *testing.T, url, length, digest, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, io.NopCloser(strings.NewReader(body)))
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

func digestOf(text string) string {
	sum := newDigest()
	_, _ = sum.Write([]byte(text)) // a hash takes all
	return hex.EncodeToString(sum.Sum(nil))
}

// readPlace says what a reader gets from a place.
func readPlace(at *place) string {
	select {
	case d := <-at.came:
		text, err := io.ReadAll(d)
		if err != nil {
			return err.Error()
		}
		return "read " + string(text)
	case <-at.gone:
		return "nothing"
	}
}

// A place takes one push, of its length, with the right digest, and no other.
func TestPlaces(t *testing.T) {
	b, _ := newBench(t, &source{ReaderAt: zeros{}, size: 1000}, nil)
	defer http.DefaultClient.CloseIdleConnections()
	right := digestOf("abc")
	require.Equal(t, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319", right)
	for name, c := range map[string]struct {
		length, digest, body string
		code                 int
		want                 string // of the reader
	}{
		"right":          {"3", right, "abc", 200, "read abc"},
		"other length":   {"4", right, "abc", 400, "nothing"},
		"no length":      {"", right, "abc", 400, "nothing"},
		"short":          {"3", right, "ab", 422, "unexpected EOF"},
		"long":           {"3", right, "abcd", 422, "more bytes"},
		"other bytes":    {"3", right, "abd", 422, "digest is another"},
		"no digest":      {"3", "", "abc", 422, "digest is another"},
		"another digest": {"3", digestOf("abd"), "abc", 422, "digest is another"},
	} {
		t.Run(name, func(t *testing.T) {
			id, at, closed, err := b.at.places.make(3)
			require.NoError(t, err)
			got := make(chan string, 1)
			go func() { got <- readPlace(at) }()
			code, text := putAt(t, b.url+routePush+id, c.length, c.digest, c.body)
			require.Equal(t, c.code, code, text)
			closed()
			require.Contains(t, <-got, c.want)
			code, _ = putAt(t, b.url+routePush+id, "3", right, "abc")
			require.Equal(t, http.StatusGone, code, "an id is good once")
		})
	}
}

// A place that nobody made, that nobody waits at, or whose time is over, is none.
func TestPlacesThatAreGone(t *testing.T) {
	b, _ := newBench(t, &source{ReaderAt: zeros{}, size: 1000}, nil)
	defer http.DefaultClient.CloseIdleConnections()
	code, _ := putAt(t, b.url+routePush+strings.Repeat("0", 32), "3", digestOf("abc"), "abc")
	require.Equal(t, http.StatusGone, code)
	id, _, closed, err := b.at.places.make(3)
	require.NoError(t, err)
	closed()
	code, _ = putAt(t, b.url+routePush+id, "3", digestOf("abc"), "abc")
	require.Equal(t, http.StatusGone, code, "nobody waits")
	p := newPlaces(time.Millisecond)
	id, _, closed, err = p.make(1)
	require.NoError(t, err)
	defer closed()
	eventually(t, "its time is over", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.open) == 0
	})
	require.Nil(t, p.take(id))
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
