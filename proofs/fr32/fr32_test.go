package fr32

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"testing/iotest"

	"github.com/filecoin-project/go-state-types/abi"
)

// slowPad is the definition: every 254 bits fill one node.
func slowPad(in []byte) []byte {
	out := make([]byte, len(in)/QuadUnpadded*QuadPadded)
	for k := range len(in) * 8 {
		bit := in[k/8] >> (k % 8) & 1
		at := k/254*256 + k%254
		out[at/8] |= bit << (at % 8)
	}
	return out
}

func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("../commp/testdata/commp.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		CommP []struct {
			Data   string `json:"data_hex"`
			Padded string `json:"fr32_padded_hex"`
		} `json:"comm_p"`
		Pattern struct {
			Data   string `json:"data_hex"`
			Padded string `json:"padded_hex"`
		} `json:"fr32_pattern_255_minus_2i"`
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	cases := [][2]string{{v.Pattern.Data, v.Pattern.Padded}}
	for _, c := range v.CommP {
		if c.Padded != "" {
			cases = append(cases, [2]string{c.Data, c.Padded})
		}
	}
	if len(cases) < 2 {
		t.Fatal("no vectors")
	}
	for _, c := range cases {
		data, err := hex.DecodeString(c[0])
		if err != nil {
			t.Fatal(err)
		}
		out := make([]byte, PaddedLen(uint64(len(data))))
		Pad(data, out)
		if hex.EncodeToString(out) != c[1] {
			t.Errorf("%d bytes pad to %x, want %s", len(data), out, c[1])
		}
	}
}

func TestEqualsDefinition(t *testing.T) {
	r := rand.NewChaCha8([32]byte{1})
	for quads := range 20 {
		in := make([]byte, quads*QuadUnpadded)
		r.Read(in)
		out, back := make([]byte, quads*QuadPadded), make([]byte, len(in))
		Pad(in, out)
		if !bytes.Equal(out, slowPad(in)) {
			t.Fatalf("%d quads pad wrong", quads)
		}
		for i := 31; i < len(out); i += 32 {
			out[i] |= 0xc0 // the two top bits are no payload
		}
		Unpad(out, back)
		if !bytes.Equal(in, back) {
			t.Fatalf("%d quads do not come back", quads)
		}
	}
}

func TestReaders(t *testing.T) {
	r := rand.NewChaCha8([32]byte{2})
	for _, n := range []int{0, 1, 126, 127, 128, 1000, readerQuads * 127, readerQuads*127 + 1, 200_000} {
		in := make([]byte, n)
		r.Read(in)
		quads := (n + 126) / 127
		whole := append(bytes.Clone(in), make([]byte, quads*127-n)...)
		for _, wrap := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.HalfReader,
			iotest.DataErrReader} {
			padded, err := io.ReadAll(NewPadReader(wrap(bytes.NewReader(in))))
			if err != nil || !bytes.Equal(padded, slowPad(whole)) {
				t.Fatalf("%d bytes: padding reader: %v", n, err)
			}
			back, err := io.ReadAll(NewUnpadReader(wrap(bytes.NewReader(padded)), abi.PaddedPieceSize(len(padded))))
			if err != nil || !bytes.Equal(back, whole) {
				t.Fatalf("%d bytes: unpadding reader: %v", n, err)
			}
		}
	}
}

func TestReaderErrors(t *testing.T) {
	broken := errors.New("broken")
	if _, err := io.ReadAll(NewPadReader(iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("pad: %v", err)
	}
	if _, err := io.ReadAll(NewUnpadReader(iotest.ErrReader(broken), 128)); !errors.Is(err, broken) {
		t.Errorf("unpad: %v", err)
	}
	if _, err := io.ReadAll(NewUnpadReader(bytes.NewReader(make([]byte, 200)), 256)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short source: %v", err)
	}
	if _, err := io.ReadAll(NewUnpadReader(bytes.NewReader(nil), 128)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("empty source: %v", err)
	}
	if _, err := io.ReadAll(NewUnpadReader(bytes.NewReader(make([]byte, 200)), 130)); err == nil {
		t.Error("130 bytes are no quads")
	}
	for _, f := range []func(){func() { Pad(make([]byte, 126), make([]byte, 128)) },
		func() { Unpad(make([]byte, 128), make([]byte, 128)) }} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("wrong lengths were accepted")
				}
			}()
			f()
		}()
	}
}

func TestLengths(t *testing.T) {
	for _, c := range [][2]uint64{{0, 0}, {1, 128}, {127, 128}, {128, 256}, {254, 256}} {
		if got := PaddedLen(c[0]); got != c[1] {
			t.Errorf("PaddedLen(%d) = %d", c[0], got)
		}
	}
	if UnpaddedLen(256) != 254 || UnpaddedLen(255) != 127 {
		t.Error("UnpaddedLen")
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add(make([]byte, 127))
	f.Add([]byte{255, 1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		padded, err := io.ReadAll(NewPadReader(bytes.NewReader(b)))
		if err != nil {
			t.Fatal(err)
		}
		for i := 31; i < len(padded); i += 32 {
			if padded[i]&0xc0 != 0 {
				t.Fatalf("node %d is no field element", i/32)
			}
		}
		back, err := io.ReadAll(NewUnpadReader(bytes.NewReader(padded), abi.PaddedPieceSize(len(padded))))
		if err != nil || !bytes.HasPrefix(back, b) || len(back)-len(b) >= 127 {
			t.Fatalf("%d bytes become %d: %v", len(b), len(back), err)
		}
	})
}

func BenchmarkPad(b *testing.B) {
	in, out := make([]byte, 1024*127), make([]byte, 1024*128)
	b.SetBytes(int64(len(in)))
	for range b.N {
		Pad(in, out)
	}
}
