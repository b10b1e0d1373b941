package repo

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// keyTypeJWT is the keystore type of the signing secret (lotus
// node/impl/common/common.go).
const keyTypeJWT = "jwt-hmac-secret"

// secretBytes is the length of a signing secret.
const secretBytes = 32

// maxFormer bounds how many former secrets are remembered, and so how many may be
// valid at once.
const maxFormer = 8

// secrets is the keystore file of the secret that signs tokens: Lotus's record of
// it, with the former ones beside it. It is one file so that a crash leaves either
// all of a rotation or nothing.
type secrets struct {
	Type       string
	PrivateKey []byte   // signs
	Former     []former `json:",omitempty"` // oldest first
	// Identity is that of the repo, which stays what the first secret made it; nil:
	// PrivateKey is the first.
	Identity *uuid.UUID `json:",omitempty"`
}

// former is a secret that signs no more.
type former struct {
	Fingerprint string
	First       bool      `json:",omitempty"` // of the repo
	PrivateKey  []byte    `json:",omitempty"` // taken out when nothing can be valid any more
	Until       time.Time // when the last of its tokens ends
}

// readSecrets reads the file, or makes it with a new secret.
func readSecrets(keys *Keystore) (secrets, error) {
	var s secrets
	err := keys.read(KeyJWTSecret, &s)
	var none *ErrNoKey
	if errors.As(err, &none) {
		s = secrets{Type: keyTypeJWT, PrivateKey: newSecret()}
		err = keys.replace(KeyJWTSecret, s)
	}
	if err != nil {
		return secrets{}, fmt.Errorf("token secret: %w", err)
	}
	if s.Type != keyTypeJWT || len(s.PrivateKey) < secretBytes {
		return secrets{}, fmt.Errorf("token secret: key %q is not of type %s with %d bytes; delete it to get a new one (voids every token)",
			KeyJWTSecret, keyTypeJWT, secretBytes)
	}
	return s, nil
}

func newSecret() []byte {
	b := make([]byte, secretBytes)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}

// open reads the file and takes out what is of no use any more.
func (s *secrets) open(keys *Keystore, now time.Time) error {
	got, err := readSecrets(keys)
	if err != nil {
		return err
	}
	*s = got
	if !s.forget(now) {
		return nil
	}
	return keys.replace(KeyJWTSecret, *s)
}

// forget takes out the secrets whose tokens have ended and tells whether there
// were any; that they were is still known.
func (s *secrets) forget(now time.Time) (any bool) {
	s.Former = slices.Clone(s.Former) // what was read before stays as it is
	for i, f := range s.Former {
		if f.PrivateKey != nil && !now.Before(f.Until) {
			s.Former[i].PrivateKey = nil
			any = true
		}
	}
	return any
}

// rotated is s with a new secret that signs; tokens of the present one end at
// until.
func (s secrets) rotated(now, until time.Time) (secrets, error) {
	id := s.identity()
	out := secrets{Type: keyTypeJWT, PrivateKey: newSecret(), Identity: &id, Former: s.Former}
	out.forget(now)
	out.Former = append(out.Former, former{
		Fingerprint: fingerprint(s.PrivateKey),
		First:       s.Identity == nil,
		PrivateKey:  s.PrivateKey,
		Until:       until,
	})
	out.forget(now)
	for len(out.Former) > maxFormer {
		if out.Former[0].PrivateKey != nil {
			return secrets{}, refuse(fmt.Sprintf("the tokens of %d former secrets are valid still, the first until %s; wait for that",
				maxFormer, out.Former[0].Until.Format(time.RFC3339)))
		}
		out.Former = out.Former[1:]
	}
	return out, nil
}

// identity of the repo.
func (s secrets) identity() uuid.UUID {
	if s.Identity != nil {
		return *s.Identity
	}
	return repoID(s.PrivateKey)
}

// until tells when the tokens of a secret end, and whether it is a former one: the
// zero time of one that is forgotten altogether. The empty fingerprint is the
// first secret's.
func (s secrets) until(print string) (end time.Time, superseded bool) {
	if print == "" && s.Identity == nil || print == fingerprint(s.PrivateKey) {
		return time.Time{}, false
	}
	for _, f := range s.Former {
		if f.Fingerprint == print || print == "" && f.First {
			return f.Until, true
		}
	}
	return time.Time{}, true
}

// parse finds the secret that signed a token.
func (s secrets) parse(token string, now time.Time) (claims, error) {
	c, err := parseWith(s.PrivateKey, token, now)
	for _, f := range s.Former {
		if err == nil || !errors.Is(err, jwt.ErrTokenSignatureInvalid) {
			break
		}
		if f.PrivateKey == nil || !now.Before(f.Until) {
			continue
		}
		c, err = parseWith(f.PrivateKey, token, now)
	}
	return c, err
}

func parseWith(key []byte, token string, now time.Time) (claims, error) {
	var c claims
	_, err := jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return key, nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithTimeFunc(func() time.Time { return now }))
	return c, err
}

// fingerprint names a secret without telling it.
func fingerprint(secret []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("quarry token secret"))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// equal tells whether both sign with the same secret.
func (s secrets) equal(t secrets) bool { return bytes.Equal(s.PrivateKey, t.PrivateKey) }
