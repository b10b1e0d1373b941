package groth16

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// Lengths of encoded points (zcash's BLS12-381 format, big-endian).
const (
	g1Compressed   = bls.SizeOfG1AffineCompressed
	g2Compressed   = bls.SizeOfG2AffineCompressed
	g1Uncompressed = bls.SizeOfG1AffineUncompressed
	g2Uncompressed = bls.SizeOfG2AffineUncompressed
)

// vkHead is the length of a verifying key up to and with the number of points
// of IC: alpha, beta in G1; beta, gamma in G2; delta in both; u32.
const vkHead = 3*g1Uncompressed + 3*g2Uncompressed + 4

// MaxInputs is the largest number of public inputs, ONE among them, that a
// verifying key may have. Filecoin's largest circuit (window PoSt of 32 GiB
// sectors) has 25,840.
const MaxInputs = 1 << 17

// MarshalBinary is the proof in its 192-byte form. It refuses points that are
// not on the curve, not in the subgroup or at infinity: such a proof would be
// refused by every reader.
func (p Proof) MarshalBinary() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	a, b, c := p.A.Bytes(), p.B.Bytes(), p.C.Bytes()
	out := make([]byte, 0, ProofSize)
	out = append(out, a[:]...)
	out = append(out, b[:]...)
	return append(out, c[:]...), nil
}

// ParseProof reads a proof of exactly ProofSize bytes. It accepts one encoding
// per proof: points compressed, coordinates reduced, in the subgroup, none at
// infinity (bellperson src/groth16/proof.rs).
func ParseProof(b []byte) (Proof, error) {
	var p Proof
	if len(b) != ProofSize {
		return Proof{}, fmt.Errorf("groth16: a proof has %d bytes, not %d", ProofSize, len(b))
	}
	if err := setG1(&p.A, b[:g1Compressed]); err != nil {
		return Proof{}, fmt.Errorf("groth16: point A of a proof: %w", err)
	}
	if err := setG2(&p.B, b[g1Compressed:g1Compressed+g2Compressed]); err != nil {
		return Proof{}, fmt.Errorf("groth16: point B of a proof: %w", err)
	}
	if err := setG1(&p.C, b[g1Compressed+g2Compressed:]); err != nil {
		return Proof{}, fmt.Errorf("groth16: point C of a proof: %w", err)
	}
	return p, nil
}

// UnmarshalBinary is ParseProof into p, which stays as it was on an error.
func (p *Proof) UnmarshalBinary(b []byte) error {
	q, err := ParseProof(b)
	if err == nil {
		*p = q
	}
	return err
}

func (p *Proof) check() error {
	if err := checkG1(&p.A); err != nil {
		return fmt.Errorf("groth16: point A of a proof: %w", err)
	}
	if err := checkG2(&p.B); err != nil {
		return fmt.Errorf("groth16: point B of a proof: %w", err)
	}
	if err := checkG1(&p.C); err != nil {
		return fmt.Errorf("groth16: point C of a proof: %w", err)
	}
	return nil
}

var (
	errInfinity  = errors.New("it is at infinity")
	errSubgroup  = errors.New("it is not in the prime-order subgroup")
	errOffCurve  = errors.New("it is not on the curve")
	errCanonical = errors.New("it is not in its canonical encoding")
)

func checkG1(p *bls.G1Affine) error {
	switch {
	case p.IsInfinity():
		return errInfinity
	case !p.IsOnCurve():
		return errOffCurve
	case !p.IsInSubGroup():
		return errSubgroup
	}
	return nil
}

func checkG2(p *bls.G2Affine) error {
	switch {
	case p.IsInfinity():
		return errInfinity
	case !p.IsOnCurve():
		return errOffCurve
	case !p.IsInSubGroup():
		return errSubgroup
	}
	return nil
}

// setG1 decodes a point whose form (compressed or not) follows from len(b).
func setG1(p *bls.G1Affine, b []byte) error {
	if _, err := p.SetBytes(b); err != nil {
		return err
	}
	same := false
	if len(b) == g1Compressed {
		again := p.Bytes()
		same = bytes.Equal(again[:], b)
	} else {
		again := p.RawBytes()
		same = bytes.Equal(again[:], b)
	}
	if !same {
		return errCanonical
	}
	return checkG1(p)
}

func setG2(p *bls.G2Affine, b []byte) error {
	if _, err := p.SetBytes(b); err != nil {
		return err
	}
	same := false
	if len(b) == g2Compressed {
		again := p.Bytes()
		same = bytes.Equal(again[:], b)
	} else {
		again := p.RawBytes()
		same = bytes.Equal(again[:], b)
	}
	if !same {
		return errCanonical
	}
	return checkG2(p)
}

// Size is the length of the encoded key in bytes.
func (vk *VerifyingKey) Size() int64 { return vkHead + int64(len(vk.IC))*g1Uncompressed }

// WriteTo writes the key as bellperson does (src/groth16/verifying_key.rs):
// alpha and beta in G1, beta and gamma in G2, delta in G1 and G2, the number of
// points of IC as a big-endian u32, the points; all uncompressed.
func (vk *VerifyingKey) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(vk.encode())
	if err != nil {
		return int64(n), fmt.Errorf("groth16: writing a verifying key: %w", err)
	}
	return int64(n), nil
}

func (vk *VerifyingKey) encode() []byte {
	b := make([]byte, 0, vk.Size())
	g1 := func(p *bls.G1Affine) { raw := p.RawBytes(); b = append(b, raw[:]...) }
	g2 := func(p *bls.G2Affine) { raw := p.RawBytes(); b = append(b, raw[:]...) }
	g1(&vk.AlphaG1)
	g1(&vk.BetaG1)
	g2(&vk.BetaG2)
	g2(&vk.GammaG2)
	g1(&vk.DeltaG1)
	g2(&vk.DeltaG2)
	b = binary.BigEndian.AppendUint32(b, uint32(len(vk.IC))) // at most MaxInputs
	for i := range vk.IC {
		g1(&vk.IC[i])
	}
	return b
}

// ReadVerifyingKey reads one key from r and not a byte more. Every point is
// checked: canonical, on the curve, in the subgroup, not at infinity. A key of
// more than MaxInputs inputs is refused before memory is taken for it.
func ReadVerifyingKey(r io.Reader) (*VerifyingKey, error) {
	var head [vkHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("groth16: reading a verifying key: %w", noEOF(err))
	}
	vk, b := new(VerifyingKey), head[:]
	g1 := func(name string, p *bls.G1Affine) (err error) {
		if err = setG1(p, b[:g1Uncompressed]); err != nil {
			return fmt.Errorf("groth16: verifying key: %s in G1: %w", name, err)
		}
		b = b[g1Uncompressed:]
		return nil
	}
	g2 := func(name string, p *bls.G2Affine) (err error) {
		if err = setG2(p, b[:g2Uncompressed]); err != nil {
			return fmt.Errorf("groth16: verifying key: %s in G2: %w", name, err)
		}
		b = b[g2Uncompressed:]
		return nil
	}
	for _, step := range []func() error{
		func() error { return g1("alpha", &vk.AlphaG1) },
		func() error { return g1("beta", &vk.BetaG1) },
		func() error { return g2("beta", &vk.BetaG2) },
		func() error { return g2("gamma", &vk.GammaG2) },
		func() error { return g1("delta", &vk.DeltaG1) },
		func() error { return g2("delta", &vk.DeltaG2) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	n := binary.BigEndian.Uint32(b)
	if n == 0 || n > MaxInputs {
		return nil, fmt.Errorf("groth16: verifying key: %d points in IC, must be 1 to %d", n, MaxInputs)
	}
	var err error
	vk.IC, err = readIC(r, int(n))
	return vk, err
}

// readIC reads n points in pieces, so that a short input costs little memory.
func readIC(r io.Reader, n int) ([]bls.G1Affine, error) {
	var ic []bls.G1Affine
	buf := make([]byte, min(n, 1024)*g1Uncompressed)
	for len(ic) < n {
		b := buf[:min(n-len(ic), 1024)*g1Uncompressed]
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, fmt.Errorf("groth16: reading point %d of %d of IC: %w", len(ic), n, noEOF(err))
		}
		for ; len(b) > 0; b = b[g1Uncompressed:] {
			var p bls.G1Affine
			if err := setG1(&p, b[:g1Uncompressed]); err != nil {
				return nil, fmt.Errorf("groth16: verifying key: point %d of IC: %w", len(ic), err)
			}
			ic = append(ic, p)
		}
	}
	return ic, nil
}

// noEOF makes of an end of file in the middle of something an unexpected one.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
