package filcrypto

import (
	"errors"
	"fmt"
	"io"
	"math/big"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// blsDST is the domain separation tag of the basic scheme with minimal public
// keys (draft-irtf-cfrg-bls-signature, §4.2.1), as used by bls-signatures.
var blsDST = []byte("BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_")

func blsScalar(priv []byte) (*big.Int, error) {
	if err := checkPrivate(priv); err != nil {
		return nil, err
	}
	be := make([]byte, PrivateKeyBytes)
	for i, b := range priv {
		be[PrivateKeyBytes-1-i] = b
	}
	k := new(big.Int).SetBytes(be)
	if k.Cmp(fr.Modulus()) >= 0 {
		return nil, errors.New("BLS private key exceeds the group order (keys are little-endian)")
	}
	return k, nil
}

func publicBLS(priv []byte) ([]byte, error) {
	k, err := blsScalar(priv)
	if err != nil {
		return nil, err
	}
	var p bls12381.G1Affine
	p.ScalarMultiplicationBase(k)
	b := p.Bytes()
	return b[:], nil
}

func signBLS(priv, msg []byte) ([]byte, error) {
	k, err := blsScalar(priv)
	if err != nil {
		return nil, err
	}
	h, err := bls12381.HashToG2(msg, blsDST)
	if err != nil {
		return nil, fmt.Errorf("hash to curve: %w", err)
	}
	h.ScalarMultiplication(&h, k)
	b := h.Bytes()
	return b[:], nil
}

func generateBLS(rand io.Reader) ([]byte, error) {
	// 48 uniform bytes reduced modulo r leave a bias below 2^-128.
	wide := make([]byte, 48)
	for {
		if _, err := io.ReadFull(rand, wide); err != nil {
			return nil, fmt.Errorf("generate BLS key: %w", err)
		}
		k := new(big.Int).SetBytes(wide)
		k.Mod(k, fr.Modulus())
		if k.Sign() == 0 {
			continue
		}
		out := make([]byte, PrivateKeyBytes)
		k.FillBytes(out)
		for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
			out[i], out[j] = out[j], out[i]
		}
		return out, nil
	}
}

// decodeBLSPublic checks curve, subgroup and that the key is not the identity,
// for which every message would have a valid signature.
func decodeBLSPublic(b []byte) (*bls12381.G1Affine, error) {
	if len(b) != bls12381.SizeOfG1AffineCompressed {
		return nil, fmt.Errorf("BLS public key is %d bytes: %w", len(b), ErrInvalidSignature)
	}
	var p bls12381.G1Affine
	if _, err := p.SetBytes(b); err != nil {
		return nil, fmt.Errorf("BLS public key: %v: %w", err, ErrInvalidSignature)
	}
	if p.IsInfinity() {
		return nil, fmt.Errorf("BLS public key is the identity: %w", ErrInvalidSignature)
	}
	return &p, nil
}

func decodeBLSSignature(b []byte) (*bls12381.G2Affine, error) {
	if len(b) != bls12381.SizeOfG2AffineCompressed {
		return nil, fmt.Errorf("BLS signature is %d bytes: %w", len(b), ErrInvalidSignature)
	}
	var p bls12381.G2Affine
	if _, err := p.SetBytes(b); err != nil {
		return nil, fmt.Errorf("BLS signature: %v: %w", err, ErrInvalidSignature)
	}
	return &p, nil
}

func verifyBLS(pub, msg, sig []byte) error {
	return VerifyAggregateBLS([][]byte{pub}, [][]byte{msg}, sig)
}

// AggregateBLS sums signatures. The aggregate of none is the encoded identity,
// 0xc0 followed by zeros, as blocks without BLS messages carry it.
func AggregateBLS(sigs [][]byte) ([]byte, error) {
	var sum bls12381.G2Jac
	for i, s := range sigs {
		p, err := decodeBLSSignature(s)
		if err != nil {
			return nil, fmt.Errorf("aggregate signature %d: %w", i, err)
		}
		sum.AddMixed(p)
	}
	var out bls12381.G2Affine
	out.FromJacobian(&sum)
	b := out.Bytes()
	return b[:], nil
}

// VerifyAggregateBLS checks one aggregate over pairs of 48-byte public keys and
// messages. Zero pairs accept only the identity signature. Messages need not
// differ: Filecoin messages carry their sender, which excludes rogue keys.
func VerifyAggregateBLS(pubs, msgs [][]byte, sig []byte) error {
	if len(pubs) != len(msgs) {
		return fmt.Errorf("%d BLS keys for %d messages: %w", len(pubs), len(msgs), ErrInvalidSignature)
	}
	s, err := decodeBLSSignature(sig)
	if err != nil {
		return err
	}
	if len(pubs) == 0 {
		if !s.IsInfinity() {
			return fmt.Errorf("aggregate of no messages is not the identity: %w", ErrInvalidSignature)
		}
		return nil
	}
	_, _, g1, _ := bls12381.Generators()
	g1.Neg(&g1)
	ps, qs := []bls12381.G1Affine{g1}, []bls12381.G2Affine{*s}
	for i := range pubs {
		p, err := decodeBLSPublic(pubs[i])
		if err != nil {
			return err
		}
		h, err := bls12381.HashToG2(msgs[i], blsDST)
		if err != nil {
			return fmt.Errorf("hash to curve: %w", err)
		}
		ps, qs = append(ps, *p), append(qs, h)
	}
	ok, err := bls12381.PairingCheck(ps, qs)
	if err != nil {
		return fmt.Errorf("pairing: %w", err)
	}
	if !ok {
		return ErrInvalidSignature
	}
	return nil
}
