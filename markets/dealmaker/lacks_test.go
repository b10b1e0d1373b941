package dealmaker

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"
)

// A provider that does not send all blocks is told from one that sends wrong
// ones, and from one that refuses; each in words.
func TestRetrieveSaysWhatIsLacking(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "in")
	content := make([]byte, 3<<20+5)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(content)
	require.NoError(t, os.WriteFile(in, content, 0o600))
	c, err := Pack(t.Context(), in, filepath.Join(dir, "a.car"), 0)
	require.NoError(t, err)
	whole, err := os.ReadFile(c.Path)
	require.NoError(t, err)
	send := func(b []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.ipld.car")
			_, _ = w.Write(b)
		}
	}
	refuse := func(code int, after, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if after != "" {
				w.Header().Set("Retry-After", after)
			}
			http.Error(w, text, code)
		}
	}
	wrong := append([]byte{}, whole...)
	wrong[len(wrong)-1] ^= 1
	tests := map[string]struct {
		answer http.HandlerFunc
		says   []string
		lacks  bool
	}{
		"cut": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(whole[:len(whole)/2])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, []string{"the provider lacks blocks of " + c.Root.String(), "its answer broke off after 1 blocks"}, true},
		"cut before the header": {send(whole[:10]), []string{"the provider lacks blocks", "after 0 blocks, 0 bytes"}, true},
		"a marker of a gateway": {send(append(whole[:len(whole):len(whole)], "\n\n[Gateway Error: CAR stream truncated]"...)),
			[]string{"the provider lacks blocks"}, true},
		"ends well, not all": {send(withoutALeaf(t, whole)), []string{"the provider lacks blocks", "did not come"}, true},
		"wrong bytes":        {send(wrong), []string{"other bytes than their CID says"}, false},
		"no CAR": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>hello</html>")) },
			[]string{"not a CAR but text/html; charset=utf-8"}, false},
		"not found": {refuse(404, "", "gone"), []string{"the provider lacks the root block (404: gone)"}, false},
		"unavailable": {refuse(503, "5", "later"),
			[]string{"holds it and cannot read it now; it asks to try again after 5 s (503: later)"}, false},
		"too many": {refuse(429, "Fri, 31 Dec 2027 23:59:59 GMT", ""),
			[]string{"too much to do; it asks to try again after Fri, 31 Dec 2027 23:59:59 GMT (429"}, false},
		"no CARs":                {refuse(406, "", "raw only"), []string{"serves no CARs (406: raw only)"}, false},
		"another":                {refuse(500, "", "oh"), []string{"the provider answers Internal Server Error (500: oh)"}, false},
		"escapes for a terminal": {refuse(404, "", "\x1b[2Jgone\u202e\nnext"), []string{"(404: \\x1b[2Jgone\\u202e\\nnext)"}, false},
		"long words": {refuse(404, "", strings.Repeat("x", 9000)),
			[]string{"(404: " + strings.Repeat("x", maxSaid) + ")"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(tt.answer)
			defer srv.Close()
			out := filepath.Join(t.TempDir(), "out")
			_, err := Retrieve(t.Context(), http.DefaultClient, srv.URL, c.Root, out, nil)
			for _, s := range tt.says {
				require.ErrorContains(t, err, s)
			}
			var lacks *LacksError
			require.Equal(t, tt.lacks, errors.As(err, &lacks), "%v", err)
			require.NoFileExists(t, out)
			left, err := filepath.Glob(filepath.Join(filepath.Dir(out), ".retrieve-*"))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
	require.ErrorContains(t, &LacksError{
		Root:   c.Root,
		Block:  c.Root,
		Blocks: 2,
		Bytes:  3,
		Reason: errors.New("why"),
	},
		"block "+c.Root.String()+" did not come after 2 blocks, 3 bytes")
	require.Equal(t, cid.Undef, (&LacksError{}).Block)
}

// withoutALeaf is a well-formed CAR that lacks the first block of another.
func withoutALeaf(t *testing.T, whole []byte) []byte {
	t.Helper()
	n, used := binary.Uvarint(whole)
	start := used + int(n)
	n, used = binary.Uvarint(whole[start:])
	return slices.Concat(whole[:start], whole[start+used+int(n):])
}
