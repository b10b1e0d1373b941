package groth16

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/stretchr/testify/require"
)

// offSubgroup are points on the curves outside the subgroups.
func offSubgroup(t testing.TB) (bls.G1Affine, bls.G2Affine) {
	t.Helper()
	var p1 bls.G1Affine
	for x := uint64(1); ; x++ {
		p1.X.SetUint64(x)
		b := p1.Bytes() // y is not used
		if _, err := p1.SetBytes(b[:]); err == nil {
			continue
		}
		p1.X.SetUint64(x)
		p1.Y.Square(&p1.X).Mul(&p1.Y, &p1.X)
		four := p1.X
		four.SetUint64(4)
		if p1.Y.Add(&p1.Y, &four); p1.Y.Sqrt(&p1.Y) != nil && p1.IsOnCurve() && !p1.IsInSubGroup() {
			break
		}
	}
	var p2 bls.G2Affine
	for x := uint64(1); ; x++ {
		p2.X.A0.SetUint64(x)
		p2.X.A1.SetZero()
		var b bls.E2
		b.A0.SetUint64(4)
		b.A1.SetUint64(4)
		p2.Y.Square(&p2.X).Mul(&p2.Y, &p2.X).Add(&p2.Y, &b)
		if p2.Y.Legendre() != 1 {
			continue
		}
		if p2.Y.Sqrt(&p2.Y); p2.IsOnCurve() && !p2.IsInSubGroup() {
			return p1, p2
		}
	}
}

func TestParseProofRefuses(t *testing.T) {
	good := unhex(t, golden(t).Mini.Proof)
	p, err := ParseProof(good)
	require.NoError(t, err)
	bad1, bad2 := offSubgroup(t)
	c1, c2 := bad1.Bytes(), bad2.Bytes()
	inf := append([]byte{0xc0}, make([]byte, 95)...)
	change := func(at int, b []byte) []byte { return slices.Replace(slices.Clone(good), at, at+len(b), b...) }
	unreduced := slices.Clone(good)
	for i := 1; i < 48; i++ {
		unreduced[i] = 0xff
	}
	unreduced[0] |= 0x1f
	raw := p.A.RawBytes()
	for name, b := range map[string][]byte{
		"empty":              nil,
		"short":              good[:191],
		"long":               append(slices.Clone(good), 0),
		"A at infinity":      change(0, inf[:48]),
		"B at infinity":      change(48, inf),
		"C at infinity":      change(144, inf[:48]),
		"A off the subgroup": change(0, c1[:]),
		"B off the subgroup": change(48, c2[:]),
		"C off the subgroup": change(144, c1[:]),
		"A uncompressed":     change(0, raw[:]),
		"A not reduced":      unreduced,
		"no flags":           change(0, []byte{good[0] &^ 0x80}),
	} {
		_, err := ParseProof(b)
		require.Error(t, err, name)
		q := p
		require.Error(t, q.UnmarshalBinary(b), name)
		require.Equal(t, p, q, name)
	}
	for name, q := range map[string]Proof{
		"infinity": {}, "A": {A: bad1, B: p.B, C: p.C}, "B": {A: p.A, B: bad2, C: p.C}, "C": {A: p.A, B: p.B, C: bad1},
	} {
		_, err := q.MarshalBinary()
		require.Error(t, err, name)
	}
}

// TestBitFlips: no changed bit of a proof or an input goes unnoticed.
func TestBitFlips(t *testing.T) {
	v := golden(t)
	vk, err := ReadVerifyingKey(bytes.NewReader(unhex(t, v.Mini.VK)))
	require.NoError(t, err)
	key, err := Prepare(vk)
	require.NoError(t, err)
	good, rng, parsed := unhex(t, v.Mini.Proof), rand.New(rand.NewPCG(1, 2)), 0
	in := elem(35)
	for i := range 1000 {
		b, x := slices.Clone(good), in
		if i%4 == 3 {
			raw := x.Bytes()
			raw[31-rng.IntN(32)] ^= 1 << rng.IntN(8)
			x.SetBytes(raw[:])
		} else {
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		}
		p, err := ParseProof(b)
		if err != nil {
			continue
		}
		parsed++
		ok, err := Verify(key, []Proof{p}, [][]fr.Element{{x}})
		require.NoError(t, err)
		require.False(t, ok)
	}
	require.Greater(t, parsed, 250, "changed inputs and signs reach the pairing")
}

func TestVerifyingKeyRefuses(t *testing.T) {
	good := unhex(t, golden(t).Mini.VK)
	bad1, bad2 := offSubgroup(t)
	r1, r2 := bad1.RawBytes(), bad2.RawBytes()
	inf := append([]byte{0x40}, make([]byte, 191)...)
	change := func(at int, b []byte) []byte { return slices.Replace(slices.Clone(good), at, at+len(b), b...) }
	count := func(n uint32) []byte { return change(vkHead-4, binary.BigEndian.AppendUint32(nil, n)) }
	for name, b := range map[string][]byte{
		"empty":                  nil,
		"cut in the head":        good[:500],
		"cut in IC":              good[:len(good)-1],
		"alpha at infinity":      change(0, inf[:96]),
		"beta off the subgroup":  change(96, r1[:]),
		"beta2 off the subgroup": change(192, r2[:]),
		"gamma at infinity":      change(384, inf),
		"delta off the subgroup": change(576, r1[:]),
		"IC at infinity":         change(vkHead+96, inf[:96]),
		"IC off the curve":       change(vkHead+190, []byte{good[vkHead+190] ^ 1}),
		"no IC":                  count(0),
		"too many inputs":        count(MaxInputs + 1),
		"more than there are":    count(MaxInputs),
	} {
		_, err := ReadVerifyingKey(bytes.NewReader(b))
		require.Error(t, err, name)
	}
	r := bytes.NewReader(append(slices.Clone(good), 1, 2, 3))
	vk, err := ReadVerifyingKey(r)
	require.NoError(t, err)
	require.Equal(t, 3, r.Len(), "reads not a byte more")
	var w bytes.Buffer
	n, err := vk.WriteTo(&w)
	require.NoError(t, err)
	require.Equal(t, good, w.Bytes())
	require.Equal(t, vk.Size(), n)
}

func TestParamsRefuse(t *testing.T) {
	good := unhex(t, golden(t).Mini.Params)
	p, err := OpenParams(BytesSource(good))
	require.NoError(t, err)
	in, aux, domain := p.Shape()
	require.Equal(t, []int{2, 4, 8}, []int{in, aux, domain})
	require.NoError(t, p.Check(context.Background(), 0, nil))
	for n := 0; n < len(good); n += 11 {
		_, err := OpenParams(BytesSource(good[:n]))
		require.Error(t, err, "cut at %d", n)
	}
	_, err = OpenParams(BytesSource(append(slices.Clone(good), 0)))
	require.ErrorContains(t, err, "1 bytes more")
	for _, s := range p.sections() {
		for _, by := range []int{-1, 1} {
			b := slices.Clone(good)
			binary.BigEndian.PutUint32(b[s.offset-4:], uint32(s.count+by))
			_, err := OpenParams(BytesSource(b))
			require.Error(t, err, "%s by %d", s.name, by)
		}
		for _, open := range []func([]byte) ParamsSource{
			func(b []byte) ParamsSource { return BytesSource(b) },
			func(b []byte) ParamsSource { return readerAt{bytes.NewReader(b)} },
		} {
			b := slices.Clone(good)
			b[s.end()-1] ^= 1
			q, err := OpenParams(open(b))
			require.NoError(t, err)
			require.ErrorContains(t, q.Check(context.Background(), 2, nil), "section "+s.name)
			b[s.offset] |= 0x40 // flagged as infinity
			_, err = ProveWith(context.Background(), q, goodMini, elem(1), elem(2), ProveOptions{})
			require.ErrorContains(t, err, "section "+s.name)
		}
	}
}

// cutSource fails to read behind a certain byte.
type cutSource struct {
	BytesSource
	end int64
}

func (c cutSource) Bytes() []byte { return nil }
func (c cutSource) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > c.end {
		return 0, io.ErrUnexpectedEOF
	}
	return c.BytesSource.ReadAt(p, off)
}

func TestParamsShrinkWhileOpen(t *testing.T) {
	good := unhex(t, golden(t).Mini.Params)
	src := &cutSource{BytesSource(good), int64(len(good))}
	p, err := OpenParams(src)
	require.NoError(t, err)
	src.end = int64(len(good)) - 1
	require.ErrorIs(t, p.Check(context.Background(), 1, nil), io.ErrUnexpectedEOF)
	_, err = Prove(context.Background(), p, goodMini, ProveOptions{})
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func FuzzParseProof(f *testing.F) {
	v := golden(f)
	f.Add(unhex(f, v.Mini.Proof))
	f.Add(unhex(f, v.Mini.Proof2))
	f.Add(make([]byte, ProofSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseProof(b)
		if err != nil {
			return
		}
		again, err := p.MarshalBinary()
		require.NoError(t, err)
		require.Equal(t, b, again)
	})
}

func FuzzReadVerifyingKey(f *testing.F) {
	f.Add(unhex(f, golden(f).Mini.VK))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		vk, err := ReadVerifyingKey(bytes.NewReader(b))
		if err != nil {
			return
		}
		require.Equal(t, b[:vk.Size()], vk.encode())
	})
}

func FuzzOpenParams(f *testing.F) {
	f.Add(unhex(f, golden(f).Mini.Params))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := OpenParams(BytesSource(b))
		if err != nil {
			return
		}
		require.EqualValues(t, len(b), p.b2.end())
		// neither may panic, whatever the points are
		_, _ = ProveWith(context.Background(), p, goodMini, elem(1), elem(2), ProveOptions{Workers: 1})
		_ = p.Check(context.Background(), 1, nil)
	})
}

func FuzzState(f *testing.F) {
	f.Add((&state{}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(b)
		if err == nil {
			require.Equal(t, b, s.encode())
		}
	})
}
