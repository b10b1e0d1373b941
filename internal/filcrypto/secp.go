package filcrypto

import (
	"fmt"
	"io"

	"github.com/filecoin-project/go-address"
	gocrypto "github.com/filecoin-project/go-crypto"
	"golang.org/x/crypto/blake2b"
)

// SecpSignatureBytes is the length of a recoverable signature: r, s, v.
const SecpSignatureBytes = 65

func publicSecp(priv []byte) ([]byte, error) {
	if err := checkPrivate(priv); err != nil {
		return nil, err
	}
	return gocrypto.PublicKey(priv), nil
}

func signSecp(priv, msg []byte) ([]byte, error) {
	if err := checkPrivate(priv); err != nil {
		return nil, err
	}
	h := blake2b.Sum256(msg)
	return gocrypto.Sign(priv, h[:])
}

func generateSecp(rand io.Reader) ([]byte, error) {
	k, err := gocrypto.GenerateKeyFromSeed(rand)
	if err != nil {
		return nil, fmt.Errorf("generate secp256k1 key: %w", err)
	}
	return k, nil
}

func verifySecp(addr address.Address, msg, sig []byte) error {
	h := blake2b.Sum256(msg)
	pub, err := RecoverSecp(h[:], sig)
	if err != nil {
		return err
	}
	got, err := address.NewSecp256k1Address(pub)
	if err != nil {
		return fmt.Errorf("address of the recovered key: %w", err)
	}
	if got != addr {
		return fmt.Errorf("signed by %s: %w", got, ErrInvalidSignature)
	}
	return nil
}

// RecoverSecp returns the 65-byte uncompressed public key that made a 65-byte
// signature over a 32-byte digest.
func RecoverSecp(digest, sig []byte) ([]byte, error) {
	if len(digest) != 32 || len(sig) != SecpSignatureBytes {
		return nil, fmt.Errorf("secp256k1 digest of %d and signature of %d bytes: %w", len(digest), len(sig), ErrInvalidSignature)
	}
	pub, err := gocrypto.EcRecover(digest, sig)
	if err != nil {
		return nil, fmt.Errorf("recover secp256k1 key: %v: %w", err, ErrInvalidSignature)
	}
	return pub, nil
}
