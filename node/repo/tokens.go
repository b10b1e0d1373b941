package repo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"quarry/api"
	"quarry/internal/durable"
	"quarry/internal/secret"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// maxToken bounds a token in bytes.
const maxToken = 8 << 10

// Tokens issues, lists, revokes and verifies the API tokens of a repo. Issued
// tokens have a record; their permissions are those of the record. A token that
// was signed with the same secret elsewhere and has no ID (one made by Lotus)
// holds what it says, for ever: only rotating the secret voids it.
type Tokens struct {
	keys      *Keystore
	ds        datastore.Batching
	adminFile string
	now       func() time.Time

	mu      sync.RWMutex
	secrets secrets
	records map[string]record

	usedMu sync.Mutex
	used   map[string]time.Time // when a token was last shown here, by its ID
}

// record is what is kept of a token.
type record struct {
	api.TokenInfo
	// Secret tells which secret signed the token; empty in records of releases
	// that could not rotate it: the first.
	Secret string `json:",omitempty"`
}

// claims is Lotus's payload with the registered claims of RFC 7519.
type claims struct {
	Allow []api.Permission
	jwt.RegisteredClaims
}

func openTokens(keys *Keystore, ds datastore.Batching, adminFile string) (*Tokens, error) {
	t := &Tokens{
		keys:      keys,
		ds:        ds,
		adminFile: adminFile,
		now:       time.Now,
		records:   map[string]record{},
		used:      map[string]time.Time{},
	}
	ctx := context.Background() // local disk, before anything runs
	if err := t.secrets.open(keys, t.now()); err != nil {
		return nil, err
	}
	if err := t.load(ctx); err != nil {
		return nil, err
	}
	return t, t.ensureAdmin(ctx)
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
		var rec record
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
// missing, its token no longer works, or a former secret signed it.
func (t *Tokens) ensureAdmin(ctx context.Context) error {
	b, err := secret.ReadOwn(t.adminFile, maxToken)
	switch {
	case err == nil && t.Lasts(ctx, strings.TrimSpace(string(b))):
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("token file: %w", err)
	}
	token, err := t.Create(ctx, api.TokenRequest{Name: "local commands (file " + FileToken + ")", Perm: api.PermAdmin})
	if err != nil {
		return err
	}
	return durable.WriteFile(t.adminFile, []byte(token), 0o600)
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
			return "", refuse(fmt.Sprintf("unknown role %q (want %s, %s or %s)", req.Role, api.RoleMarketsPeer, api.RoleWorker,
				api.RoleLink))
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

// minLife is the shortest life of a token: its times are seconds.
const minLife = time.Second

func (t *Tokens) issue(ctx context.Context, req api.TokenRequest, allow []api.Permission) (string, error) {
	now := t.now().UTC().Truncate(time.Second) // JWT times are seconds
	if len(req.Name) > 200 {
		return "", refuse("the name is longer than 200 bytes")
	}
	if !req.Expires.IsZero() && req.Expires.Before(now.Add(minLife)) {
		return "", refuse("it would have expired already")
	}
	info := api.TokenInfo{
		ID:      uuid.NewString(),
		Name:    req.Name,
		Role:    req.Role,
		Allow:   allow,
		Created: now,
		Expires: req.Expires,
	}
	c := claims{Allow: allow, RegisteredClaims: jwt.RegisteredClaims{ID: info.ID, IssuedAt: jwt.NewNumericDate(now)}}
	if !req.Expires.IsZero() {
		c.ExpiresAt = jwt.NewNumericDate(req.Expires)
	}
	t.mu.Lock() // the secret that signs is the one in the record
	defer t.mu.Unlock()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(t.secrets.PrivateKey)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return token, t.save(ctx, record{TokenInfo: info, Secret: fingerprint(t.secrets.PrivateKey)})
}

// save writes the record before the token can be used. t.mu is held.
func (t *Tokens) save(ctx context.Context, rec record) error {
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

// List returns every issued token, oldest first, revoked ones included. One that
// a former secret signed expires no later than that.
func (t *Tokens) List() []api.TokenInfo {
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := make([]api.TokenInfo, 0, len(t.records))
	for _, r := range t.records {
		info := r.TokenInfo
		info.Allow = slices.Clone(r.Allow)
		info.LastUsed = t.lastUsed(r.ID)
		if until, former := t.secrets.until(r.Secret); former {
			info.Superseded = true
			if until.IsZero() {
				until = info.Created // it ended, and when is forgotten
			}
			if info.Expires.IsZero() || until.Before(info.Expires) {
				info.Expires = until
			}
		}
		out = append(out, info)
	}
	slices.SortFunc(out, func(a, b api.TokenInfo) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

func (t *Tokens) lastUsed(id string) time.Time {
	t.usedMu.Lock()
	defer t.usedMu.Unlock()
	return t.used[id]
}

func (t *Tokens) use(id string) {
	t.usedMu.Lock()
	defer t.usedMu.Unlock()
	t.used[id] = t.now().UTC().Truncate(time.Second)
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
	t.mu.RLock()
	defer t.mu.RUnlock()
	c, err := t.secrets.parse(token, t.now())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errToken, err)
	}
	if c.ID == "" {
		return known(c.Allow), nil
	}
	rec, ok := t.records[c.ID]
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: it has no record here (restored from an older backup?)", errToken)
	case rec.Revoked:
		return nil, fmt.Errorf("%w: revoked", errToken)
	case !rec.Expires.IsZero() && !t.now().Before(rec.Expires):
		return nil, fmt.Errorf("%w: expired", errToken)
	}
	t.use(c.ID)
	return rights(rec.TokenInfo), nil
}

// Lasts tells whether a token is valid and will not end because the secret that
// signed it was rotated out.
func (t *Tokens) Lasts(ctx context.Context, token string) bool {
	if _, err := t.Verify(ctx, token); err != nil {
		return false
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	_, err := parseWith(t.secrets.PrivateKey, token, t.now())
	return err == nil
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
