package pieces

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	car "github.com/ipld/go-car/v2"
	"github.com/ipld/go-car/v2/storage"
	mh "github.com/multiformats/go-multihash"
	"github.com/multiformats/go-varint"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

var aPiece = cid.MustParse("baga6ea4seaqofo6d7zmjr5crnswer5f2m5hdpumdj2co7eaw7teqzqhns4ytyni")

// sections is a CARv1 written by hand.
type sections struct{ bytes.Buffer }

func newCAR(t testing.TB) *sections {
	t.Helper()
	s := &sections{}
	_, err := storage.NewWritable(s, []cid.Cid{hashed(t, mh.SHA2_256, "root")}, car.WriteAsCarV1(true))
	require.NoError(t, err)
	return s
}

func hashed(t testing.TB, code uint64, data string) cid.Cid {
	t.Helper()
	h, err := mh.Sum([]byte(data), code, -1)
	require.NoError(t, err)
	return cid.NewCidV1(cid.Raw, h)
}

// block adds a section and tells where its data is.
func (s *sections) block(c cid.Cid, data string) uint64 {
	s.Write(varint.ToUvarint(uint64(c.ByteLen() + len(data))))
	s.Write(c.Bytes())
	at := uint64(s.Len())
	s.WriteString(data)
	return at
}

func (s *sections) padded(c cid.Cid, data string) {
	n := varint.ToUvarint(uint64(c.ByteLen() + len(data)))
	n[len(n)-1] |= 0x80
	s.Write(append(n, 0))
	s.Write(c.Bytes())
	s.WriteString(data)
}

func identityOf(t testing.TB, n int) cid.Cid {
	return hashed(t, mh.IDENTITY, strings.Repeat("i", n))
}

// indexed says what an index of the payload finds.
func indexed(t *testing.T, payload []byte) (api.PieceRecord, *Store) {
	t.Helper()
	s := newStore()
	require.NoError(t, s.Index(t.Context(), aPiece, bytes.NewReader(payload), uint64(len(payload))))
	rec, err := s.Get(t.Context(), aPiece)
	require.NoError(t, err)
	return rec, s
}

// Every block that is good is indexed whatever stands before it, and the record
// says what is not good, and where.
func TestGoodBlocksAreIndexedAndTheRestIsNamed(t *testing.T) {
	x, y := strings.Repeat("x", 100), strings.Repeat("y", 100)
	cx, cy := hashed(t, mh.SHA2_256, x), hashed(t, mh.SHA2_256, y)
	long := strings.Repeat("l", MaxBlock)
	v0 := cid.NewCidV0(cx.Hash())
	tests := map[string]struct {
		write func(s *sections)
		note  string
		count int
	}{
		"whole":            {func(s *sections) {}, "", 2},
		"identity of 1":    {func(s *sections) { s.block(identityOf(t, 1), "i") }, "", 2},
		"identity of 300":  {func(s *sections) { s.block(identityOf(t, 300), "anything") }, "", 2},
		"identity of 2048": {func(s *sections) { s.block(identityOf(t, 2048), "") }, "", 2},
		"identity of 2049": {func(s *sections) {
			s.block(identityOf(t, 2049),
				"")
		}, "identity CID of more than 2048 bytes, at byte 2159", 2},
		"identity beyond the limit": {func(s *sections) { s.block(identityOf(t, 3000), "") }, "block with a bad CID, at byte 103", 2},
		"zero length":               {func(s *sections) { s.block(hashed(t, mh.SHA2_256, ""), "") }, "", 3},
		"CIDv0":                     {func(s *sections) { s.block(v0, x) }, "", 3},
		"largest block":             {func(s *sections) { s.block(hashed(t, mh.SHA2_256, long), long) }, "", 3},
		"too large a block": {func(s *sections) { s.block(hashed(t, mh.SHA2_256, long+"l"), long+"l") },
			"block of more than 8388608 bytes, at byte 103", 2},
		"bad CID": {func(s *sections) { s.Write([]byte{3, 9, 9, 9}) }, "block with a bad CID, at byte 103", 2},
		"several": {func(s *sections) { s.Write([]byte{1, 9, 1, 9, 1, 9}) }, "block with a bad CID, 3 times, first at byte 103", 2},
		"padded length": {func(s *sections) {
			s.padded(hashed(t, mh.SHA2_256, "p"),
				"p")
		}, "length written with needless bytes, at byte 103", 3},
		"wrong bytes": {func(s *sections) {
			s.block(hashed(t, mh.SHA2_256, "a"),
				"b")
		}, "block whose bytes are not those of its CID, at byte 140", 2},
		"MD5": {func(s *sections) { s.block(hashed(t, mh.MD5, "a"), "a") }, "hash md5 is not served, at byte 125", 2},
		"SHAKE-128": {func(s *sections) {
			s.block(hashed(t, mh.SHAKE_128, "a"),
				"a")
		}, "hash shake-128 is not served, at byte 140", 2},
		"unknown hash": {func(s *sections) {
			s.block(cid.NewCidV1(cid.Raw, unknownHash(t)),
				"a")
		}, "hash 0x300bad is not served, at byte 131", 2},
		"blake2b": {func(s *sections) { s.block(hashed(t, mh.BLAKE2B_MIN+31, "a"), "a") }, "", 3},
		"SHA3":    {func(s *sections) { s.block(hashed(t, mh.SHA3_256, "a"), "a") }, "", 3},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newCAR(t)
			at := s.block(cx, x)
			start := s.Len()
			require.Equal(t, 197, start, "the places in the table stand on it")
			tt.write(s)
			s.block(cy, y)
			rec, store := indexed(t, s.Bytes())
			require.Equal(t, shift(tt.note, start-103), rec.IndexErr)
			require.Equal(t, tt.count, rec.Blocks)
			locs, err := store.Find(t.Context(), cx.Hash())
			require.NoError(t, err)
			require.Equal(t, []Location{{Piece: aPiece, Offset: at, Length: 100}}, locs)
			locs, err = store.Find(t.Context(), cy.Hash())
			require.NoError(t, err)
			require.Equal(t, []Location{{Piece: aPiece, Offset: uint64(s.Len() - 100), Length: 100}}, locs)
		})
	}
}

// shift moves the place that a note names.
func shift(note string, by int) string {
	i := strings.LastIndex(note, " ")
	if i < 0 {
		return note
	}
	var at int
	fmt.Sscan(note[i:], &at)
	return fmt.Sprintf("%s %d", note[:i], at+by)
}

func unknownHash(t testing.TB) mh.Multihash {
	h, err := mh.Encode(make([]byte, 20), 0x300bad)
	require.NoError(t, err)
	return h
}

// A CAR that ends too early, or in a way of its own, gives what stands before the
// end.
func TestEndOfACAR(t *testing.T) {
	x, y := strings.Repeat("x", 100), strings.Repeat("y", 100)
	whole := newCAR(t)
	whole.block(hashed(t, mh.SHA2_256, x), x)
	n := whole.Len()
	whole.block(hashed(t, mh.SHA2_256, y), y)
	b := whole.Bytes()
	overflow := bytes.Repeat([]byte{0xff}, 10)
	tests := map[string]struct {
		payload []byte
		note    string
		blocks  int
	}{
		"in the data": {b[:len(b)-10],
			fmt.Sprintf("the CAR ends inside a block of 136 bytes, 10 are missing: unexpected EOF, at byte %d", n), 1},
		"one byte short": {b[:len(b)-1],
			fmt.Sprintf("the CAR ends inside a block of 136 bytes, 1 are missing: unexpected EOF, at byte %d", n), 1},
		"in the CID": {b[:n+10],
			fmt.Sprintf("the CAR ends inside a block of 136 bytes, 128 are missing: unexpected EOF, at byte %d", n), 1},
		"in the length":     {b[:n+1], fmt.Sprintf("the length of a block cannot be read: unexpected EOF, at byte %d", n), 1},
		"at a block":        {b[:n], "", 1},
		"behind the header": {newCAR(t).Bytes(), "", 0},
		"zeros":             {append(bytes.Clone(b), make([]byte, 3*readAhead)...), "", 2},
		"zeros, then bytes": {append(append(bytes.Clone(b), make([]byte, 3*readAhead)...), 7),
			fmt.Sprintf("bytes behind a section of no length, at byte %d", len(b)), 2},
		"huge length": {append(bytes.Clone(b), binary.AppendUvarint(nil, 1<<63)...),
			fmt.Sprintf("the CAR ends inside a block of %d bytes, %[1]d are missing: unexpected EOF, at byte %[2]d", uint64(1<<63),
				len(b)), 2},
		"length of 70 bits": {append(bytes.Clone(b), overflow...),
			fmt.Sprintf("the length of a block cannot be read: binary: varint overflows a 64-bit integer, at byte %d", len(b)), 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			rec, _ := indexed(t, tt.payload)
			require.Equal(t, tt.note, rec.IndexErr)
			require.Equal(t, tt.blocks, rec.Blocks)
		})
	}
}

func TestCARv2(t *testing.T) {
	v1 := newCAR(t)
	v1.block(hashed(t, mh.SHA2_256, "a"), "a")
	v1.block(hashed(t, mh.SHA2_256, "b"), "b")
	var withIndex bytes.Buffer
	require.NoError(t, car.WrapV1(bytes.NewReader(v1.Bytes()), &withIndex))
	head := func(offset, size uint64) []byte {
		h := bytes.Clone(withIndex.Bytes()[:car.PragmaSize+car.HeaderSize])
		binary.LittleEndian.PutUint64(h[car.PragmaSize+16:], offset)
		binary.LittleEndian.PutUint64(h[car.PragmaSize+24:], size)
		return append(h, v1.Bytes()...)
	}
	n := uint64(v1.Len())
	total := n + 51
	tests := map[string]struct {
		payload []byte
		note    string
		blocks  int
	}{
		"with its index": {withIndex.Bytes(), "", 2},
		"without":        {head(51, n), "", 2},
		"data end early": {head(51, n-1),
			fmt.Sprintf("the CAR ends inside a block of 37 bytes, 1 are missing: unexpected EOF, at byte %d", total-38), 1},
		"more than there is": {head(51, n+1),
			fmt.Sprintf("the CARv2 header tells of more data than there are, at byte %d", total), 2},
		"a great size": {head(51, 1<<62),
			fmt.Sprintf("the CARv2 header tells of more data than there are, at byte %d", total), 2},
		"size overflows": {head(51, ^uint64(0)),
			"not a CAR: CARv2 header: invalid data payload size: 18446744073709551615, at byte 11", 0},
		"data in the header": {head(50, n), "not a CAR: CARv2 header: invalid data payload offset: 50, at byte 11", 0},
		"data at the end": {head(total, 1),
			fmt.Sprintf("not a CAR: CARv2 header: the data start at %d of %d bytes, at byte 11", total, total), 0},
		"last byte":              {head(total-1, 1), fmt.Sprintf("not a CAR: a header of 98 bytes, at byte %d", total), 0},
		"zeros before the index": {append(append(head(51, n+400_000), make([]byte, 400_000)...), "the index"...), "", 2},
		"cut length before the index": {append(head(51, n+1), 0x80, 0x01),
			fmt.Sprintf("the length of a block cannot be read: unexpected EOF, at byte %d", total), 2},
		"no data":     {head(51, 0), "not a CAR: CARv2 header: invalid data payload size: 0, at byte 11", 0},
		"two of them": {append(head(51, 100)[:51], withIndex.Bytes()...), "not a CAR: version 2 is not known here, at byte 62", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			rec, _ := indexed(t, tt.payload)
			require.Equal(t, tt.note, rec.IndexErr)
			require.Equal(t, tt.blocks, rec.Blocks)
		})
	}
}

func TestHeaderOfACAR(t *testing.T) {
	good := newCAR(t)
	good.block(hashed(t, mh.SHA2_256, "a"), "a")
	b := good.Bytes()
	padded := append([]byte{b[0] | 0x80, 0}, b[1:]...)
	rec, _ := indexed(t, padded)
	require.Equal(t, 1, rec.Blocks)
	require.Equal(t, "length written with needless bytes, at byte 0", rec.IndexErr)
	for name, payload := range map[string][]byte{
		"empty":        nil,
		"no length":    {0},
		"cut":          b[:20],
		"no CBOR":      append([]byte{3}, "abc"...),
		"text":         []byte("just some text, no CAR at all"),
		"too long":     append(binary.AppendUvarint(nil, MaxBlock+1), make([]byte, MaxBlock+1)...),
		"version 3":    {10, 0xa1, 0x67, 'v', 'e', 'r', 's', 'i', 'o', 'n', 3},
		"only a magic": {10, 0xa1, 0x67, 'v', 'e', 'r', 's', 'i', 'o', 'n', 2},
	} {
		t.Run(name, func(t *testing.T) {
			rec, _ := indexed(t, payload)
			require.Zero(t, rec.Blocks)
			require.True(t, strings.HasPrefix(rec.IndexErr, "not a CAR: "), rec.IndexErr)
		})
	}
}
