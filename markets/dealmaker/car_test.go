package dealmaker

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func pack(t *testing.T, size int, minPiece abi.PaddedPieceSize) (*CAR, []byte) {
	data := make([]byte, size)
	_, err := rand.Read(data)
	require.NoError(t, err)
	in := filepath.Join(t.TempDir(), "in")
	require.NoError(t, os.WriteFile(in, data, 0o600))
	c, err := Pack(context.Background(), in, in+".car", minPiece)
	require.NoError(t, err)
	return c, data
}

func TestPackAndUnpack(t *testing.T) {
	for _, size := range []int{1, 100, chunkSize, chunkSize + 1, 3*chunkSize + 17} {
		c, data := pack(t, size, 0)
		require.LessOrEqual(t, c.Size, uint64(c.PieceSize.Unpadded()))
		raw, err := os.ReadFile(c.Path)
		require.NoError(t, err)
		require.Len(t, raw, int(c.Size))
		again, err := Inspect(context.Background(), c.Path, 0)
		require.NoError(t, err)
		require.Equal(t, c, again, "the root is in the header")
		out := filepath.Join(t.TempDir(), "out")
		_, err = Unpack(context.Background(), bytes.NewReader(raw), c.Root, out, nil)
		require.NoError(t, err)
		got, err := os.ReadFile(out)
		require.NoError(t, err)
		require.Equal(t, data, got)
		_, err = Unpack(context.Background(), bytes.NewReader(raw), c.Root, out, nil)
		require.ErrorContains(t, err, "exists already")
	}
}

func TestPackAsksForALargerPiece(t *testing.T) {
	c, _ := pack(t, 100, 4096)
	require.Equal(t, abi.PaddedPieceSize(4096), c.PieceSize)
	_, err := Pack(context.Background(), c.Path, c.Path, 0)
	require.ErrorContains(t, err, "exists already")
}

// Every damage to an answer is found and leaves no file behind.
func TestUnpackRefuses(t *testing.T) {
	c, _ := pack(t, 2*chunkSize, 0)
	raw, err := os.ReadFile(c.Path)
	require.NoError(t, err)
	flipped := bytes.Clone(raw)
	flipped[len(flipped)/2] ^= 1
	other := cid.MustParse("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy")
	for name, tt := range map[string]struct {
		b    []byte
		root cid.Cid
	}{"flipped bit": {flipped, c.Root}, "cut": {raw[:len(raw)-7], c.Root}, "cut in half": {raw[:len(raw)/2], c.Root},
		"no CAR": {[]byte("hello"), c.Root}, "empty": {nil, c.Root}, "another root": {raw, other}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := Unpack(context.Background(), bytes.NewReader(tt.b), tt.root, filepath.Join(dir, "out"), nil)
			require.Error(t, err)
			left, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

func TestServeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	require.NoError(t, os.WriteFile(path, []byte("payload"), 0o600))
	s, err := ServeFile(path, "127.0.0.1:0", "localhost")
	require.NoError(t, err)
	require.Contains(t, s.URL, "http://localhost:")
	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.Get(s.URL)
	require.NoError(t, err)
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	require.NoError(t, err)
	require.Equal(t, "payload", string(b))
	resp, err = http.Get(s.URL + "x")
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 404, resp.StatusCode)
	require.NoError(t, s.Close())
}

func FuzzUnpack(f *testing.F) {
	root := cid.MustParse("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy")
	f.Add([]byte("hello"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Unpack(context.Background(), bytes.NewReader(b), root, filepath.Join(t.TempDir(), "out"), nil); err == nil {
			t.Fatal("accepted bytes that cannot hold the root")
		}
	})
}
