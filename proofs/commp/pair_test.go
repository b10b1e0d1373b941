package commp

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand"
	"runtime"
	"slices"
	"testing"

	oracle "github.com/filecoin-project/go-fil-commp-hashhash"
)

// onEveryPath runs f with the SHA kernel, where there is one, and without.
func onEveryPath(t *testing.T, f func(t *testing.T)) {
	unit := shaUnit
	defer func() { shaUnit = unit }()
	for _, shaUnit = range slices.Compact([]bool{unit, false}) {
		t.Run(fmt.Sprintf("kernel %v", shaUnit), f)
	}
}

func checkRow(t *testing.T, src []byte) {
	t.Helper()
	want := make([]byte, 0, len(src)/2)
	for i := 0; i < len(src); i += 64 {
		h := sha256.Sum256(src[i : i+64])
		h[31] &= 0x3f
		want = append(want, h[:]...)
	}
	dst := bytes.Repeat([]byte{0xa5}, len(want)+32) // the rest must stay
	HashRow(dst[:len(want)], src)
	if !bytes.Equal(dst[:len(want)], want) {
		t.Errorf("a row of %d nodes differs", len(src)/32)
	}
	if !bytes.Equal(dst[len(want):], bytes.Repeat([]byte{0xa5}, 32)) {
		t.Errorf("a row of %d nodes was written beyond its end", len(src)/32)
	}
	over := bytes.Clone(src)
	if HashRow(over[:len(want)], over); !bytes.Equal(over[:len(want)], want) {
		t.Errorf("a row of %d nodes differs when written over its source", len(src)/32)
	}
}

func TestHashRowEqualsSHA256(t *testing.T) {
	onEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewSource(7))
		for n := range 35 {
			src := make([]byte, 64*n+3)[3:] // at an odd address
			r.Read(src)
			checkRow(t, src)
			checkRow(t, bytes.Repeat([]byte{0xff}, 64*n))
			checkRow(t, make([]byte, 64*n))
		}
	})
}

func TestHashRowRefusesLengths(t *testing.T) {
	for _, c := range [][2]int{{32, 32}, {32, 63}, {31, 62}, {0, 64}, {64, 64}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a row of %d bytes hashed to %d", c[1], c[0])
				}
			}()
			HashRow(make([]byte, c[0]), make([]byte, c[1]))
		}()
	}
}

func FuzzHashRow(f *testing.F) {
	f.Add(make([]byte, 128))
	f.Add(bytes.Repeat([]byte{0xff, 1, 2}, 100))
	f.Fuzz(func(t *testing.T, b []byte) { checkRow(t, b[:len(b)/64*64]) })
}

func BenchmarkHashRow(b *testing.B) {
	unit := shaUnit
	defer func() { shaUnit = unit }()
	src := make([]byte, 1<<20)
	dst := make([]byte, len(src)/2)
	rand.New(rand.NewSource(1)).Read(src)
	for _, shaUnit = range slices.Compact([]bool{unit, false}) {
		b.Run(fmt.Sprintf("kernel %v", shaUnit), func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				HashRow(dst, src)
			}
		})
	}
}

// BenchmarkSideBySide compares a piece commitment of ours with
// go-fil-commp-hashhash, on one core and on all.
func BenchmarkSideBySide(b *testing.B) {
	data := make([]byte, 127<<18)
	rand.New(rand.NewSource(1)).Read(data)
	ours := func() error {
		w := NewWriter()
		if _, err := w.Write(data); err != nil {
			return err
		}
		_, err := w.Finish()
		return err
	}
	theirs := func() error {
		var c oracle.Calc
		if _, err := io.Copy(&c, bytes.NewReader(data)); err != nil {
			return err
		}
		_, _, err := c.Digest()
		return err
	}
	for _, procs := range slices.Compact([]int{1, runtime.NumCPU()}) {
		for _, who := range []struct {
			name string
			run  func() error
		}{{"ours", ours}, {"hashhash", theirs}} {
			b.Run(fmt.Sprintf("%s/%d cores", who.name, procs), func(b *testing.B) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
				b.SetBytes(int64(len(data)))
				for b.Loop() {
					if err := who.run(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
