package markets

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	car "github.com/ipld/go-car/v2"
	"github.com/ipld/go-car/v2/storage"
	mh "github.com/multiformats/go-multihash"
	"github.com/multiformats/go-varint"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/markets/dealmaker"
)

// payload writes a CAR of raw blocks, short of cut bytes.
func payload(t *testing.T, cut int, blocks ...string) (string, []cid.Cid) {
	t.Helper()
	var buf bytes.Buffer
	var ids []cid.Cid
	for _, b := range blocks {
		h, err := mh.Sum([]byte(b), mh.SHA2_256, -1)
		require.NoError(t, err)
		ids = append(ids, cid.NewCidV1(cid.Raw, h))
	}
	_, err := storage.NewWritable(&buf, ids[:1], car.WriteAsCarV1(true))
	require.NoError(t, err)
	for i, b := range blocks {
		buf.Write(varint.ToUvarint(uint64(ids[i].ByteLen() + len(b))))
		buf.Write(ids[i].Bytes())
		buf.WriteString(b)
	}
	path := filepath.Join(t.TempDir(), "p.car")
	require.NoError(t, os.WriteFile(path, buf.Bytes()[:buf.Len()-cut], 0o600))
	return path, ids
}

func (w *world) fetch(path string) (int, string) {
	resp, err := http.Get(w.http.URL + path)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// What of a payload cannot be retrieved stands in the deal, its log, and the
// client's status, from indexing on and when blocks change later; what can be is
// served.
func TestDealSaysWhatOfItsPayloadCannotBeRetrieved(t *testing.T) {
	x, y := strings.Repeat("x", 300), strings.Repeat("y", 300)
	for name, tt := range map[string]struct {
		cut   int
		log   string
		noted bool
	}{
		"whole":     {0, "2 blocks are indexed", false},
		"truncated": {10, "1 block is indexed; the CAR ends inside a block of 336 bytes, 10 are missing: unexpected EOF, at byte", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			path, ids := payload(t, tt.cut, x, y)
			c, err := dealmaker.Inspect(context.Background(), path, 256)
			require.NoError(t, err)
			c.Root = ids[0]
			files, err := dealmaker.ServeFile(path, "127.0.0.1:0", "")
			require.NoError(t, err)
			defer files.Close()
			id, err := w.propose(context.Background(), c, files.URL)
			require.NoError(t, err)
			info := w.reach(id, api.DealIndexed)
			var log []string
			for _, l := range info.Log {
				log = append(log, l.Message)
			}
			require.Contains(t, strings.Join(log, "\n"), tt.log)
			require.Equal(t, tt.noted, info.IndexNote != "")
			code, body := w.fetch("/ipfs/" + ids[0].String() + "?format=raw")
			require.Equal(t, 200, code)
			require.Equal(t, x, body)

			p, err := w.client.Provider(context.Background(), minerAddr)
			require.NoError(t, err)
			st, err := w.client.Status(context.Background(), p, w.wallet, id)
			require.NoError(t, err)
			require.Empty(t, st.DealStatus.Error, "it would end the deal for the client")
			require.Equal(t, tt.noted, strings.Contains(st.DealStatus.SealingStatus, "(payload: 1 block is indexed; the CAR ends"))

			require.Eventually(t, func() bool { // a copy that is still open is not spoilt
				w.spoil(x)
				code, _ = w.fetch("/ipfs/" + ids[0].String() + "?format=raw")
				return code == 404
			}, 20*time.Second, 10*time.Millisecond)
			info, err = w.m.DealsGet(context.Background(), id, true)
			require.NoError(t, err)
			require.Contains(t, info.IndexNote, "1 found wrong since then, not served")
			require.Contains(t, info.Log[len(info.Log)-1].Message, "a block of the piece is not what its CID says any more")
		})
	}
}

// spoil changes bytes wherever the payload is kept.
func (w *world) spoil(what string) {
	w.sealing.mu.Lock()
	for _, b := range w.sealing.bytes {
		if i := bytes.Index(b, []byte(what)); i >= 0 {
			b[i] = 'z'
		}
	}
	w.sealing.mu.Unlock()
	staged, err := filepath.Glob(filepath.Join(w.dir, "*"))
	require.NoError(w.t, err)
	for _, p := range staged {
		b, err := os.ReadFile(p)
		if i := bytes.Index(b, []byte(what)); err == nil && i >= 0 {
			b[i] = 'z'
			require.NoError(w.t, os.WriteFile(p, b, 0o600))
		}
	}
}

// A piece that a deal brought, and of which no copy can be read, is 503; one that
// is not known is 404.
func TestPieceWithoutACopyIs503(t *testing.T) {
	w := newWorld(t)
	piece := cid.MustParse("baga6ea4seaqofo6d7zmjr5crnswer5f2m5hdpumdj2co7eaw7teqzqhns4ytyni")
	code, _ := w.fetch("/piece/" + piece.String())
	require.Equal(t, 404, code)
	require.NoError(t, w.m.pieces.AddDeal(context.Background(), piece, api.UUID{1}, 100, api.PiecePlacement{Size: 256}))
	code, body := w.fetch("/piece/" + piece.String())
	require.Equal(t, 503, code)
	require.NotContains(t, body, "sector")
}
