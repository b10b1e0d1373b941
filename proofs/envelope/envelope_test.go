package envelope

import (
	"testing"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
)

func TestWrapParse(t *testing.T) {
	blob := []byte("a vanilla proof")
	field, c := Wrap(blob)
	want, err := cid.V1Builder{Codec: cid.Raw, MhType: mh.BLAKE2B_MIN + 31}.Sum(blob)
	if err != nil {
		t.Fatal(err)
	}
	if len(field) != 40 || string(field[:8]) != "QVANILA1" || c != want {
		t.Errorf("field %x, CID %s, want %s", field, c, want)
	}
	if got, ok := Parse(field); !ok || got != c {
		t.Errorf("parsed %s, %v", got, ok)
	}
	if got, ok := Parse(field[:39]); ok || got.Defined() {
		t.Error("a short field was parsed")
	}
}

func FuzzParse(f *testing.F) {
	good, _ := Wrap(nil)
	for _, b := range [][]byte{nil, good, good[:8], append(good, 0), make([]byte, 40), make([]byte, 192)} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, ok := Parse(b)
		if ok != (len(b) == 40 && string(b[:8]) == Tag) || ok != c.Defined() {
			t.Errorf("%x: %s, %v", b, c, ok)
		}
	})
}
