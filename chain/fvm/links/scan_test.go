package links

import (
	"errors"
	"testing"

	"github.com/ipfs/go-cid"
)

var sample = cid.MustParse("bafy2bzacebc3bt6cedhoyw34drrmjvazhu4oj25er2ebk4u445pzycvq4ta4a")

func link(c cid.Cid) []byte {
	b := c.Bytes()
	return append([]byte{0xd8, 42, 0x58, byte(len(b) + 1), 0}, b...)
}

func TestScan(t *testing.T) {
	list := append([]byte{0x82, 0x01}, link(sample)...)
	got, st, err := Scan(list)
	if err != nil || len(got) != 1 || got[0] != sample || st.Fields != 3 || st.Links != 1 {
		t.Fatalf("%v %+v %v", got, st, err)
	}
	commR, err := cid.Prefix{Version: 1, Codec: CommSealed, MhType: Blake2b256, MhLength: 32}.Sum([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if got, st, err := Scan(link(commR)); err != nil || len(got) != 0 || st.Links != 1 {
		t.Fatalf("commitment: %v %+v %v", got, st, err)
	}
	pb := cid.NewCidV1(0x70, sample.Hash())
	if _, _, err := Scan(link(pb)); !errors.Is(err, ErrUnsupported) {
		t.Fatalf("dag-pb link: %v", err)
	}
	for name, b := range map[string][]byte{"empty": {}, "trailing": {0, 0}, "indefinite": {0x9f, 0xff},
		"long string": {0x5b, 255, 255, 255, 255, 255, 255, 255, 255}, "huge array": {0x9b, 255, 255, 255, 255, 255, 255, 255, 255},
		"link of text": {0xd8, 42, 0x61, 'a'}} {
		if _, _, err := Scan(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte{0x80})
	f.Add(link(sample))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, st, err := Scan(b)
		if st.Fields > 2*len(b)+2 {
			t.Fatalf("%d fields in %d bytes", st.Fields, len(b))
		}
		if err == nil && len(got) > len(b) {
			t.Fatalf("%d links in %d bytes", len(got), len(b))
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(sample.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, n, err := Parse(b)
		if err == nil && (n > len(b) || !c.Defined()) {
			t.Fatalf("took %d of %d bytes: %s", n, len(b), c)
		}
	})
}
