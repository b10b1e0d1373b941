package repo

import (
	"context"
	"fmt"
	"time"

	"quarry/api"
)

// maxOldValid is how long tokens of a former secret may stay valid at most.
const maxOldValid = 90 * 24 * time.Hour

// Rotate makes a new secret sign from now on. Tokens made before, those without a
// record too, are valid for oldValidFor more (0: no longer), and what expires
// earlier does so. It is done when Rotate returns, and the token file of local
// commands is a new one. A crash leaves either the old secret or the new one, and
// a token file that the next start renews. Errors are *api.ErrInvalid for a
// duration out of range; after any other error the rotation may have happened, as
// the error says.
func (t *Tokens) Rotate(ctx context.Context, oldValidFor time.Duration) (api.TokenRotation, error) {
	if oldValidFor < 0 || oldValidFor > maxOldValid {
		return api.TokenRotation{}, &api.ErrInvalid{
			What:   "rotation of the token secret",
			Reason: fmt.Sprintf("old tokens cannot be valid for %s", oldValidFor),
			Hint:   fmt.Sprintf("choose 0 to %s", maxOldValid),
		}
	}
	out, err := t.replaceSecret(oldValidFor)
	if err != nil {
		return api.TokenRotation{}, err
	}
	if err := t.ensureAdmin(ctx); err != nil {
		return out, fmt.Errorf("the secret was rotated, but the token of local commands was not renewed; restart the node: %w", err)
	}
	for _, info := range t.List() {
		if info.Superseded && !info.Revoked && t.now().Before(info.Expires) {
			out.Outstanding = append(out.Outstanding, info)
		}
	}
	return out, nil
}

// replaceSecret writes the new secret and then uses it.
func (t *Tokens) replaceSecret(oldValidFor time.Duration) (api.TokenRotation, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now().UTC().Truncate(time.Second)
	out := api.TokenRotation{Rotated: now, OldValidUntil: now.Add(oldValidFor), Outstanding: []api.TokenInfo{}}
	next, err := t.secrets.rotated(now, out.OldValidUntil)
	if err != nil {
		return api.TokenRotation{}, err
	}
	if err := t.keys.replace(KeyJWTSecret, next); err != nil {
		return api.TokenRotation{}, t.settle(next, fmt.Errorf("write the new token secret: %w", err))
	}
	t.secrets = next
	return out, nil
}

// settle finds out after an error which secret lies on the disk, and uses that: a
// write may have failed after the file had its place.
func (t *Tokens) settle(next secrets, cause error) error {
	got, err := readSecrets(t.keys)
	if err == nil && got.equal(next) {
		t.secrets = next
		return fmt.Errorf("the secret was rotated, though not all steps succeeded: %w", cause)
	}
	return fmt.Errorf("the token secret is the old one still: %w", cause)
}
