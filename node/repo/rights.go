package repo

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"slices"
	"strings"

	"quarry/api"
)

// rights are what a token may do: one of a role what the role may do now, whatever
// it was when the token was made.
func rights(rec api.TokenInfo) []api.Permission {
	if rec.Role == "" {
		return slices.Clone(rec.Allow)
	}
	perms, _ := api.RolePermissions(rec.Role) // none for a role that there is no more
	return perms
}

// Valid tells whether a token can be used still, by its ID. Of tokens that were not
// issued here, which have none, nothing is known but that they can.
func (t *Tokens) Valid(id string) bool {
	if strings.HasPrefix(id, "sha256:") {
		return true
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	rec, ok := t.records[id]
	if !ok || rec.Revoked || !rec.Expires.IsZero() && !t.now().Before(rec.Expires) {
		return false
	}
	until, former := t.secrets.until(rec.Secret)
	return !former || t.now().Before(until)
}

// FileKey signs the bearers of sector files. It is made from the secret of the
// tokens, which it does not tell, and is replaced with it.
func (t *Tokens) FileKey() ed25519.PrivateKey {
	t.mu.RLock()
	defer t.mu.RUnlock()
	mac := hmac.New(sha256.New, t.secrets.PrivateKey)
	mac.Write([]byte("quarry bearers of sector files"))
	return ed25519.NewKeyFromSeed(mac.Sum(nil))
}
