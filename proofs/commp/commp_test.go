package commp

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math/rand"
	"os"
	"strconv"
	"testing"
	"testing/iotest"

	commcid "github.com/filecoin-project/go-fil-commcid"
	oracle "github.com/filecoin-project/go-fil-commp-hashhash"
	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/fr32"
)

type vectors struct {
	Zero  map[string]string `json:"zero_commitments_by_padded_size"`
	CommP []struct {
		CommP string `json:"comm_p"`
		Data  string `json:"data"`
		Len   int    `json:"unpadded_len"`
	} `json:"comm_p"`
	Pieces struct {
		Fixtures []struct {
			CID    string              `json:"piece_cid"`
			Padded abi.PaddedPieceSize `json:"padded_size"`
			Len    int64               `json:"payload_len"`
		} `json:"fixtures"`
	} `json:"piece_cid_fixtures"`
	CommD struct {
		CommD  string `json:"comm_d"`
		Pieces []struct {
			Unpadded abi.UnpaddedPieceSize `json:"unpadded"`
		} `json:"pieces"`
	} `json:"compute_comm_d_padded_pieces"`
	TreeD struct {
		Fixtures []struct {
			CommD string `json:"comm_d"`
			Size  uint64 `json:"size"`
		} `json:"fixtures"`
	} `json:"tree_d_fixtures"`
}

func load(t testing.TB) (v vectors) {
	t.Helper()
	raw, err := os.ReadFile("testdata/commp.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func hexOf(t testing.TB, p Piece) string {
	t.Helper()
	raw, err := commcid.CIDToDataCommitmentV1(p.CID)
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(raw)
}

func TestZeroPieces(t *testing.T) {
	zero := load(t).Zero
	if len(zero) < 30 {
		t.Fatalf("%d vectors", len(zero))
	}
	for size, want := range zero {
		n, err := strconv.ParseUint(size, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(zeroNodes()[level(n)][:]); got != want {
			t.Errorf("%s bytes: %s want %s", size, got, want)
		}
	}
	if got := hexOf(t, Piece{CID: ZeroPiece(2048)}); got != zero["2048"] {
		t.Errorf("ZeroPiece(2048) is %s", got)
	}
}

func TestSmallPieces(t *testing.T) { onEveryPath(t, testSmallPieces) }

func testSmallPieces(t *testing.T) {
	for _, v := range load(t).CommP {
		data := make([]byte, v.Len)
		for i := range data {
			data[i] = byte(7*i + 3)
		}
		if v.Data != "byte i = 7*i+3 mod 256" {
			t.Fatalf("unknown data %q", v.Data)
		}
		p, err := Sum(context.Background(), bytes.NewReader(data))
		if err != nil || hexOf(t, p) != v.CommP || p.PayloadSize != uint64(v.Len) {
			t.Errorf("%d bytes: %+v, %v; want %s", v.Len, p, err, v.CommP)
		}
	}
}

// fixtureReader is the payload of the published fixtures.
type fixtureReader struct {
	r   *rand.Rand
	buf []byte
}

func (f *fixtureReader) Read(p []byte) (int, error) {
	for len(f.buf) < len(p) && len(f.buf) < 1<<16 {
		f.buf = binary.LittleEndian.AppendUint32(f.buf, f.r.Uint32())
	}
	n := copy(p, f.buf)
	f.buf = f.buf[:copy(f.buf, f.buf[n:])]
	return n, nil
}

func TestPieceFixtures(t *testing.T) { onEveryPath(t, testPieceFixtures) }

func testPieceFixtures(t *testing.T) {
	checked := 0
	for _, v := range load(t).Pieces.Fixtures {
		if v.Padded > 16<<20 || testing.Short() && v.Padded > 1<<20 {
			continue // the larger ones differ only in the number of chunks
		}
		checked++
		src := io.LimitReader(&fixtureReader{r: rand.New(rand.NewSource(1337))}, v.Len)
		p, err := SumPadded(context.Background(), src, v.Padded)
		if err != nil || p.CID.String() != v.CID {
			t.Errorf("%d of %d bytes: %s, %v; want %s", v.Len, v.Padded, p.CID, err, v.CID)
		}
	}
	if checked < 3 {
		t.Fatalf("%d fixtures checked", checked)
	}
}

func TestEqualsOracle(t *testing.T) { onEveryPath(t, testEqualsOracle) }

func testEqualsOracle(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for _, n := range []int{65, 127, 128, 254, 1016, 1017, chunkUnpadded - 1, chunkUnpadded, chunkUnpadded + 1,
		2*chunkUnpadded + 5, 3 * chunkUnpadded, 5*chunkUnpadded + 77, 9 * chunkUnpadded} {
		data := make([]byte, n)
		r.Read(data)
		var c oracle.Calc
		if _, err := c.Write(data); err != nil {
			t.Fatal(err)
		}
		want, size, err := c.Digest()
		if err != nil {
			t.Fatal(err)
		}
		p, err := Sum(context.Background(), iotest.HalfReader(bytes.NewReader(data)))
		if err != nil || hexOf(t, p) != hex.EncodeToString(want) || uint64(p.PaddedSize) != size {
			t.Errorf("%d bytes: %+v, %v; want %x in %d", n, p, err, want, size)
		}
		wide, err := SumPadded(context.Background(), bytes.NewReader(data), abi.PaddedPieceSize(size*8))
		padded, perr := oracle.PadCommP(want, size, size*8)
		if err != nil || perr != nil || hexOf(t, wide) != hex.EncodeToString(padded) {
			t.Errorf("%d bytes in %d: %+v, %v", n, size*8, wide, err)
		}
	}
}

// However much a Writer takes in at a time and however it is written to, the
// commitment is the same.
func TestWriterBatches(t *testing.T) {
	data := make([]byte, 9*chunkUnpadded+12345)
	rand.New(rand.NewSource(2)).Read(data)
	want, err := Sum(context.Background(), bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for _, chunks := range []int{1, 2, 3, 20} {
		for _, cut := range []int{1000, chunkUnpadded - 1, chunkUnpadded, 2*chunkUnpadded + 1, len(data)} {
			w := NewWriter()
			w.batch = chunks * chunkUnpadded
			for rest := data; len(rest) > 0; {
				n, err := w.Write(rest[:min(cut, len(rest))])
				if err != nil || n != min(cut, len(rest)) || len(w.buf) >= w.batch {
					t.Fatalf("wrote %d of %d bytes, %d are waiting: %v", n, cut, len(w.buf), err)
				}
				rest = rest[n:]
			}
			if got, err := w.Finish(); got != want || err != nil {
				t.Errorf("batches of %d chunks, writes of %d bytes: %+v, %v; want %+v", chunks, cut, got, err, want)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	ctx := context.Background()
	if _, err := Sum(ctx, bytes.NewReader(nil)); !errors.Is(err, ErrEmpty) {
		t.Errorf("empty: %v", err)
	}
	if _, err := SumPadded(ctx, bytes.NewReader(make([]byte, 128)), 128); err == nil {
		t.Error("128 bytes fitted a piece of 127")
	}
	for _, size := range []abi.PaddedPieceSize{0, 64, 129, 384, 1 << 63} {
		if _, err := SumPadded(ctx, bytes.NewReader(make([]byte, 10)), size); err == nil {
			t.Errorf("piece size %d accepted", size)
		}
	}
	broken := errors.New("broken")
	if _, err := Sum(ctx, io.MultiReader(bytes.NewReader(make([]byte, 500)), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("read error: %v", err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Sum(gone, bytes.NewReader(make([]byte, 500))); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func pieceOf(t testing.TB, b byte, size abi.PaddedPieceSize) abi.PieceInfo {
	t.Helper()
	c, err := commcid.DataCommitmentV1ToCID(bytes.Repeat([]byte{b}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return abi.PieceInfo{Size: size, PieceCID: c}
}

func TestCommD(t *testing.T) {
	v := load(t)
	var pieces []abi.PieceInfo
	for i, p := range v.CommD.Pieces {
		pieces = append(pieces, pieceOf(t, byte(i+1), p.Unpadded.Padded()))
	}
	root, err := Aggregate(4096, pieces)
	if err != nil || hex.EncodeToString(root[:]) != v.CommD.CommD {
		t.Errorf("got %x, %v; want %s", root, err, v.CommD.CommD)
	}
	seal := abi.RegisteredSealProof_StackedDrg2KiBV1_1
	if c, err := CommD(seal, nil); err != nil || c != ZeroPiece(2048) {
		t.Errorf("no pieces: %s, %v", c, err)
	}
	one := pieceOf(t, 7, 2048)
	if c, err := CommD(seal, []abi.PieceInfo{one}); err != nil || c != one.PieceCID {
		t.Errorf("a piece that fills the sector: %s, %v", c, err)
	}
	for name, bad := range map[string][]abi.PieceInfo{
		"too large":        {pieceOf(t, 1, 4096)},
		"too many":         {pieceOf(t, 1, 1024), pieceOf(t, 2, 1024), pieceOf(t, 3, 128)},
		"alignment leaves": {pieceOf(t, 1, 128), pieceOf(t, 2, 1024), pieceOf(t, 3, 128)},
		"odd size":         {pieceOf(t, 1, 384)},
		"undefined CID":    {{Size: 128}},
	} {
		if _, err := CommD(seal, bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := CommD(99, nil); err == nil {
		t.Error("seal proof 99 accepted")
	}
}

// Pieces with gaps commit to the same as their bytes laid out with zeros.
func TestCommDEqualsBytes(t *testing.T) { onEveryPath(t, testCommDEqualsBytes) }

func testCommDEqualsBytes(t *testing.T) {
	const size = 8192
	r := rand.New(rand.NewSource(3))
	for range 50 {
		padded, at := make([]byte, size), 0
		var pieces []abi.PieceInfo
		for {
			n := 128 << r.Intn(5)
			at = (at + n - 1) / n * n
			if at+n > size {
				break
			}
			raw := make([]byte, n/128*127)
			r.Read(raw)
			p, err := SumPadded(context.Background(), bytes.NewReader(raw), abi.PaddedPieceSize(n))
			if err != nil {
				t.Fatal(err)
			}
			fr32.Pad(raw, padded[at:at+n])
			pieces = append(pieces, abi.PieceInfo{Size: p.PaddedSize, PieceCID: p.CID})
			at += n
		}
		got, err := Aggregate(size, pieces)
		if err != nil || got != reduce(padded) {
			t.Fatalf("pieces %v: %x, %v", pieces, got, err)
		}
	}
}

func TestTreeDFixtures(t *testing.T) { onEveryPath(t, testTreeDFixtures) }

func testTreeDFixtures(t *testing.T) {
	for _, v := range load(t).TreeD.Fixtures {
		data := make([]byte, v.Size)
		data[0] = 1
		if got := reduce(data); hex.EncodeToString(got[:]) != v.CommD {
			t.Errorf("%d bytes: %x want %s", v.Size, got, v.CommD)
		}
	}
}

func FuzzWriter(f *testing.F) {
	f.Add([]byte("some payload"), uint8(3))
	f.Add(make([]byte, 300), uint8(127))
	f.Fuzz(func(t *testing.T, b []byte, cut uint8) {
		want, err := Sum(context.Background(), bytes.NewReader(b))
		w := NewWriter()
		for i := 0; i < len(b); i += int(cut) + 1 {
			if _, err := w.Write(b[i:min(i+int(cut)+1, len(b))]); err != nil {
				t.Fatal(err)
			}
		}
		got, err2 := w.Finish()
		if got != want || (err == nil) != (err2 == nil) || (err == nil) != (len(b) > 0) {
			t.Errorf("%d bytes: %+v, %v; %+v, %v", len(b), got, err2, want, err)
		}
	})
}

// FuzzAggregate lays pieces of fuzzed sizes out in a sector. What is accepted
// commits to the same as the roots laid out by hand, and what does not fit or is
// no piece size is refused.
func FuzzAggregate(f *testing.F) {
	f.Add([]byte{0, 1, 2}, uint8(6))
	f.Add([]byte{6}, uint8(6))
	f.Add([]byte{7, 0}, uint8(6))
	f.Add([]byte{200, 3}, uint8(3))
	f.Fuzz(func(t *testing.T, kinds []byte, log uint8) {
		size := abi.PaddedPieceSize(128) << (log % 8)
		row, at, fits := make([]byte, size), uint64(0), true
		var pieces []abi.PieceInfo
		for i, k := range kinds[:min(len(kinds), 64)] {
			n := abi.PaddedPieceSize(128) << (k % 8)
			if k >= 128 {
				n += abi.PaddedPieceSize(k)&31 + 1 // no power of two
				fits = false
			}
			pieces = append(pieces, pieceOf(t, byte(i+1), n))
			at = (at + uint64(n) - 1) / uint64(n) * uint64(n)
			if at+uint64(n) > uint64(size) {
				fits = false
			}
			if fits {
				// A piece stands for its root, at the first node of its place.
				copy(row[at:], bytes.Repeat([]byte{byte(i + 1)}, 32))
			}
			at += uint64(n)
		}
		got, err := Aggregate(size, pieces)
		if fits != (err == nil) {
			t.Fatalf("%d bytes, pieces %v: %v", size, pieces, err)
		}
		if err == nil {
			if want := byHand(row, pieces); got != want {
				t.Fatalf("%d bytes, pieces %v: %x, want %x", size, pieces, got, want)
			}
		}
	})
}

// byHand is the root over row, where each piece's root stands at the start of
// its place.
func byHand(row []byte, pieces []abi.PieceInfo) Node {
	whole := map[uint64]int{} // start -> length of a piece
	var at uint64
	for _, p := range pieces {
		at = (at + uint64(p.Size) - 1) / uint64(p.Size) * uint64(p.Size)
		whole[at] = int(p.Size)
		at += uint64(p.Size)
	}
	var root func(from uint64, n int) Node
	root = func(from uint64, n int) Node {
		if whole[from] == n || n == 32 {
			return Node(row[from : from+32])
		}
		l, r := root(from, n/2), root(from+uint64(n/2), n/2)
		return HashPair(&l, &r)
	}
	return root(0, len(row))
}

func BenchmarkSum(b *testing.B) {
	data := make([]byte, 127<<18)
	rand.New(rand.NewSource(1)).Read(data)
	b.SetBytes(int64(len(data)))
	for range b.N {
		if _, err := Sum(context.Background(), bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}
