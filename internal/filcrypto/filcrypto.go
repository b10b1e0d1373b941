package filcrypto

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/crypto"
)

// PrivateKeyBytes is the length of a private key of either type: a BLS scalar
// in little-endian order, or a big-endian secp256k1 scalar.
const PrivateKeyBytes = 32

// Errors that callers tell apart with errors.Is.
var (
	// ErrInvalidSignature says that the signature is well formed or not, but
	// in no case a signature of this message by this key.
	ErrInvalidSignature = errors.New("invalid signature")
	// ErrUnsupportedType names a key or signature type other than BLS and
	// secp256k1.
	ErrUnsupportedType = errors.New("unsupported key type: use bls or secp256k1")
)

// Verify checks sig over msg against a key address (f1 for secp256k1, f3 for
// BLS). ID addresses must be resolved by the caller first. It returns an error
// wrapping ErrInvalidSignature when the check fails.
func Verify(sig *crypto.Signature, keyAddr address.Address, msg []byte) error {
	if sig == nil {
		return fmt.Errorf("verify for %s: no signature: %w", keyAddr, ErrInvalidSignature)
	}
	var err error
	switch sig.Type {
	case crypto.SigTypeBLS:
		if keyAddr.Protocol() != address.BLS {
			return fmt.Errorf("verify: %s is not a BLS key address: %w", keyAddr, ErrInvalidSignature)
		}
		err = verifyBLS(keyAddr.Payload(), msg, sig.Data)
	case crypto.SigTypeSecp256k1:
		if keyAddr.Protocol() != address.SECP256K1 {
			return fmt.Errorf("verify: %s is not a secp256k1 key address: %w", keyAddr, ErrInvalidSignature)
		}
		err = verifySecp(keyAddr, msg, sig.Data)
	default:
		return fmt.Errorf("verify: signature type %d: %w", sig.Type, ErrUnsupportedType)
	}
	if err != nil {
		return fmt.Errorf("verify for %s: %w", keyAddr, err)
	}
	return nil
}

// Sign signs msg with a 32-byte private key. secp256k1 signs the blake2b-256
// digest of msg; BLS hashes msg to the curve.
func Sign(t crypto.SigType, priv, msg []byte) (*crypto.Signature, error) {
	var data []byte
	var err error
	switch t {
	case crypto.SigTypeBLS:
		data, err = signBLS(priv, msg)
	case crypto.SigTypeSecp256k1:
		data, err = signSecp(priv, msg)
	default:
		return nil, fmt.Errorf("sign: type %d: %w", t, ErrUnsupportedType)
	}
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return &crypto.Signature{Type: t, Data: data}, nil
}

// ToPublic derives the public key: 48 compressed bytes for BLS, 65
// uncompressed bytes for secp256k1.
func ToPublic(t crypto.SigType, priv []byte) ([]byte, error) {
	switch t {
	case crypto.SigTypeBLS:
		return publicBLS(priv)
	case crypto.SigTypeSecp256k1:
		return publicSecp(priv)
	}
	return nil, fmt.Errorf("public key: type %d: %w", t, ErrUnsupportedType)
}

// PublicAddress is the key address (f1 or f3) of a private key.
func PublicAddress(t crypto.SigType, priv []byte) (address.Address, error) {
	pub, err := ToPublic(t, priv)
	if err != nil {
		return address.Undef, err
	}
	if t == crypto.SigTypeBLS {
		return address.NewBLSAddress(pub)
	}
	return address.NewSecp256k1Address(pub)
}

// Generate draws a fresh private key from rand.
func Generate(t crypto.SigType, rand io.Reader) ([]byte, error) {
	switch t {
	case crypto.SigTypeBLS:
		return generateBLS(rand)
	case crypto.SigTypeSecp256k1:
		return generateSecp(rand)
	}
	return nil, fmt.Errorf("generate key: type %d: %w", t, ErrUnsupportedType)
}

func checkPrivate(priv []byte) error {
	if len(priv) != PrivateKeyBytes {
		return fmt.Errorf("private key is %d bytes, want %d", len(priv), PrivateKeyBytes)
	}
	if bytes.Equal(priv, make([]byte, PrivateKeyBytes)) {
		return errors.New("private key is zero")
	}
	return nil
}
