package repo

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"quarry/api"
	"quarry/internal/durable"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// maxToken bounds a token in bytes.
const maxToken = 8 << 10

// keyTypeJWT is the keystore type of the signing secret (lotus
// node/impl/common/common.go).
const keyTypeJWT = "jwt-hmac-secret"

// Tokens issues, lists, revokes and verifies the API tokens of a repo. Issued
// tokens have a record; their permissions are those of the record. A token that
// was signed with the same secret elsewhere and has no ID (one made by Lotus)
// holds what it says, for ever: only replacing the secret voids it.
type Tokens struct {
	secret []byte
	ds     datastore.Batching

	mu      sync.RWMutex
	records map[string]api.TokenInfo
}

// claims is Lotus's payload with the registered claims of RFC 7519.
type claims struct {
	Allow []api.Permission
	jwt.RegisteredClaims
}

func openTokens(keys *Keystore, ds datastore.Batching, adminFile string) (*Tokens, error) {
	secret, err := jwtSecret(keys)
	if err != nil {
		return nil, err
	}
	t := &Tokens{secret: secret, ds: ds, records: map[string]api.TokenInfo{}}
	ctx := context.Background() // local disk, before anything runs
	if err := t.load(ctx); err != nil {
		return nil, err
	}
	return t, t.ensureAdmin(ctx, adminFile)
}

func jwtSecret(keys *Keystore) ([]byte, error) {
	key, err := keys.Get(KeyJWTSecret)
	var none *ErrNoKey
	if errors.As(err, &none) {
		key = Key{Type: keyTypeJWT, PrivateKey: make([]byte, 32)}
		_, _ = rand.Read(key.PrivateKey) // never fails (crypto/rand)
		err = keys.Put(KeyJWTSecret, key)
	}
	if err != nil {
		return nil, fmt.Errorf("token secret: %w", err)
	}
	if key.Type != keyTypeJWT || len(key.PrivateKey) < 32 {
		return nil, fmt.Errorf("token secret: key %q is not of type %s with 32 bytes; delete it to get a new one (voids every token)", KeyJWTSecret, keyTypeJWT)
	}
	return key.PrivateKey, nil
}

// load reads the records. One that cannot be read voids its own token only: a
// process that owes proofs does not stay down for it.
func (t *Tokens) load(ctx context.Context) error {
	res, err := t.ds.Query(ctx, query.Query{})
	if err != nil {
		return fmt.Errorf("load tokens: %w", err)
	}
	defer func() { _ = res.Close() }()
	for e := range res.Next() {
		var rec api.TokenInfo
		if e.Error != nil {
			return fmt.Errorf("load tokens: %w", e.Error)
		}
		if err := json.Unmarshal(e.Value, &rec); err != nil || rec.ID == "" {
			continue // its token is not valid any more; the others are
		}
		t.records[rec.ID] = rec
	}
	return nil
}

// ensureAdmin writes the token file commands on this host use, when it is
// missing or its token no longer works.
func (t *Tokens) ensureAdmin(ctx context.Context, path string) error {
	b, err := os.ReadFile(path)
	if err == nil {
		if _, err := t.Verify(ctx, strings.TrimSpace(string(b))); err == nil {
			return nil
		}
	}
	token, err := t.Create(ctx, api.TokenRequest{Name: "local commands (file " + FileToken + ")", Perm: api.PermAdmin})
	if err != nil {
		return err
	}
	return durable.WriteFile(path, []byte(token), 0o600)
}

// Create issues a token. Errors are *api.ErrInvalid.
func (t *Tokens) Create(ctx context.Context, req api.TokenRequest) (string, error) {
	var allow []api.Permission
	switch {
	case req.Role != "" && req.Perm != "", req.Role == "" && req.Perm == "":
		return "", refuse("exactly one of role and permission must be given")
	case req.Role != "":
		var ok bool
		if allow, ok = api.RolePermissions(req.Role); !ok {
			return "", refuse(fmt.Sprintf("unknown role %q (want %s or %s)", req.Role, api.RoleMarketsPeer, api.RoleWorker))
		}
	default:
		if allow = api.ClassicPermissions(req.Perm); allow == nil {
			return "", refuse(fmt.Sprintf("unknown permission %q (want read, write, sign or admin)", req.Perm))
		}
	}
	return t.issue(ctx, req, allow)
}

// New issues a token with exactly these permissions, Lotus's AuthNew.
func (t *Tokens) New(ctx context.Context, perms []api.Permission) (string, error) {
	if len(perms) == 0 {
		return "", refuse("a token without permissions is of no use")
	}
	for _, p := range perms {
		if !slices.Contains(api.AllPermissions, p) {
			return "", refuse(fmt.Sprintf("unknown permission %q", p))
		}
	}
	return t.issue(ctx, api.TokenRequest{Name: "AuthNew"}, slices.Clone(perms))
}

func refuse(reason string) error { return &api.ErrInvalid{What: "token request", Reason: reason} }

func (t *Tokens) issue(ctx context.Context, req api.TokenRequest, allow []api.Permission) (string, error) {
	now := time.Now().UTC().Truncate(time.Second) // JWT times are seconds
	if len(req.Name) > 200 {
		return "", refuse("the name is longer than 200 bytes")
	}
	if !req.Expires.IsZero() && !req.Expires.After(now) {
		return "", refuse("it would have expired already")
	}
	rec := api.TokenInfo{ID: uuid.NewString(), Name: req.Name, Role: req.Role, Allow: allow, Created: now, Expires: req.Expires}
	c := claims{Allow: allow, RegisteredClaims: jwt.RegisteredClaims{ID: rec.ID, IssuedAt: jwt.NewNumericDate(now)}}
	if !req.Expires.IsZero() {
		c.ExpiresAt = jwt.NewNumericDate(req.Expires)
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(t.secret)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return token, t.save(ctx, rec)
}

// save writes the record before the token can be used. t.mu is held.
func (t *Tokens) save(ctx context.Context, rec api.TokenInfo) error {
	b, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	key := datastore.NewKey(rec.ID)
	if err := t.ds.Put(ctx, key, b); err != nil {
		return fmt.Errorf("save token record: %w", err)
	}
	if err := t.ds.Sync(ctx, key); err != nil {
		return fmt.Errorf("save token record: %w", err)
	}
	t.records[rec.ID] = rec
	return nil
}

// List returns every issued token, oldest first, revoked ones included.
func (t *Tokens) List() []api.TokenInfo {
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := make([]api.TokenInfo, 0, len(t.records))
	for _, r := range t.records {
		r.Allow = slices.Clone(r.Allow)
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b api.TokenInfo) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

// Revoke makes the token with this ID invalid at once and for good; repeating
// it is fine, an unknown ID is *api.ErrNotFound.
func (t *Tokens) Revoke(ctx context.Context, id string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	rec, ok := t.records[id]
	if !ok {
		return &api.ErrNotFound{What: "token " + id, Hint: "auth list shows the IDs"}
	}
	rec.Revoked = true
	return t.save(ctx, rec)
}

// errToken is all a caller learns of a bad token.
var errToken = errors.New("token is not valid")

// Verify returns what a token may do. Every refusal wraps the same error; the
// reason is for logs.
func (t *Tokens) Verify(_ context.Context, token string) ([]api.Permission, error) {
	if len(token) > maxToken {
		return nil, fmt.Errorf("%w: longer than %d bytes", errToken, maxToken)
	}
	var c claims
	_, err := jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return t.secret, nil }, jwt.WithValidMethods([]string{"HS256"}))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errToken, err)
	}
	if c.ID == "" {
		return known(c.Allow), nil
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	rec, ok := t.records[c.ID]
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: it has no record here (restored from an older backup?)", errToken)
	case rec.Revoked:
		return nil, fmt.Errorf("%w: revoked", errToken)
	case !rec.Expires.IsZero() && !time.Now().Before(rec.Expires):
		return nil, fmt.Errorf("%w: expired", errToken)
	}
	return rights(rec), nil
}

// known drops words that mean nothing here. A plain admin token of Lotus lists
// the four classic words; admin there includes what we split off.
func known(allow []api.Permission) []api.Permission {
	if slices.Contains(allow, api.PermAdmin) {
		return slices.Clone(api.AllPermissions)
	}
	out := []api.Permission{}
	for _, p := range api.AllPermissions {
		if slices.Contains(allow, p) {
			out = append(out, p)
		}
	}
	return out
}
