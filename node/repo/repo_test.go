package repo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"quarry/api"

	"github.com/golang-jwt/jwt/v5"
	"github.com/ipfs/go-datastore"
)

func fresh(t testing.TB) *Repo {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	if err := Init(dir, KindMiner); err != nil {
		t.Fatal(err)
	}
	return reopen(t, dir)
}

func reopen(t testing.TB, dir string) *Repo {
	t.Helper()
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestLifecycle(t *testing.T) {
	r := fresh(t)
	var exists *ErrExists
	if err := Init(r.Dir(), KindMarkets); !errors.As(err, &exists) {
		t.Fatalf("second init: %v", err)
	}
	var locked *ErrLocked
	if _, err := Open(r.Dir()); !errors.As(err, &locked) || !strings.Contains(err.Error(), r.Dir()) ||
		!strings.Contains(err.Error(), "process") {
		t.Fatalf("second open: %v", err)
	}
	if err := r.WriteAPI("/ip4/127.0.0.1/tcp/2345/http"); err != nil {
		t.Fatal(err)
	}
	info, err := APIInfo(r.Dir())
	if err != nil || !strings.HasSuffix(info, ":/ip4/127.0.0.1/tcp/2345/http") || strings.Count(info, ".") < 2 {
		t.Fatalf("api info %q, %v", info, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := APIInfo(r.Dir()); err == nil {
		t.Fatal("a stopped process still has an address")
	}
	if k := reopen(t, r.Dir()).Kind(); k != KindMiner {
		t.Fatal(k)
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	var none *ErrNoRepo
	if _, err := Open(dir); !errors.As(err, &none) {
		t.Fatal(err)
	}
	if Init(dir, "spaceship") == nil {
		t.Fatal("initialised an unknown kind")
	}
	for name, content := range map[string]string{"damaged": "{", "kind": `{"Kind":"x","Version":1}`,
		"version": `{"Kind":"miner","Version":9}`} {
		if err := os.WriteFile(filepath.Join(dir, fileKind), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

func TestDatastorePrefixesAndPersistence(t *testing.T) {
	ctx := context.Background()
	r := fresh(t)
	key := datastore.NewKey("/x/1")
	subs := slices.DeleteFunc(slices.Clone(Subsystems), func(s Subsystem) bool { return s == Auth }) // holds real records
	for _, sub := range subs {
		if err := r.Datastore(sub).Put(ctx, key, []byte(sub)); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := r.Strays(ctx, 10); err != nil || len(s) != 0 {
		t.Fatalf("strays %v, %v", s, err)
	}
	if err := r.Raw().Put(ctx, datastore.NewKey("/marketsx/1"), nil); err != nil {
		t.Fatal(err)
	}
	if s, err := r.Strays(ctx, 10); err != nil || len(s) != 1 {
		t.Fatalf("strays %v, %v", s, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = reopen(t, r.Dir())
	for _, sub := range subs {
		if v, err := r.Datastore(sub).Get(ctx, key); err != nil || string(v) != string(sub) {
			t.Errorf("%s: %q, %v", sub, v, err)
		}
		b, err := r.Datastore(sub).Batch(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(b.Delete(ctx, key), b.Commit(ctx)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKeystore(t *testing.T) {
	ks, err := OpenKeystore(filepath.Join(t.TempDir(), "k"))
	if err != nil {
		t.Fatal(err)
	}
	want := Key{Type: "bls", PrivateKey: []byte("secret")}
	if err := ks.Put("wallet-f3x", want); err != nil {
		t.Fatal(err)
	}
	if ks.Put("wallet-f3x", want) == nil {
		t.Fatal("replaced a key")
	}
	if got, err := ks.Get("wallet-f3x"); err != nil || got.Type != want.Type || string(got.PrivateKey) != "secret" {
		t.Fatalf("%v, %v", got, err)
	}
	if strings.Contains(want.String(), "secret") {
		t.Fatal("key printed")
	}
	if l, err := ks.List(); err != nil || len(l) != 1 || l[0] != "wallet-f3x" {
		t.Fatalf("%v, %v", l, err)
	}
	path, _ := ks.path("wallet-f3x")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ks.Get("wallet-f3x"); err == nil {
		t.Fatal("read a key that everybody can read")
	}
	var none *ErrNoKey
	for range 2 { // a second key of the same name finds another place in the trash
		if err := ks.Delete("wallet-f3x"); err != nil {
			t.Fatal(err)
		}
		if _, err := ks.Get("wallet-f3x"); !errors.As(err, &none) {
			t.Fatal(err)
		}
		if err := ks.Put("wallet-f3x", want); err != nil {
			t.Fatal(err)
		}
	}
	if err := ks.Delete("nothing"); !errors.As(err, &none) {
		t.Fatal(err)
	}
}

func TestTokens(t *testing.T) {
	ctx := context.Background()
	r := fresh(t)
	for name, c := range map[string]struct {
		req  api.TokenRequest
		want int // number of permissions, 0 = refused
	}{
		"read":    {api.TokenRequest{Perm: api.PermRead}, 1},
		"sign":    {api.TokenRequest{Perm: api.PermSign}, 3},
		"admin":   {api.TokenRequest{Perm: api.PermAdmin}, len(api.AllPermissions)},
		"role":    {api.TokenRequest{Role: api.RoleMarketsPeer}, 3},
		"both":    {api.TokenRequest{Role: api.RoleWorker, Perm: api.PermRead}, 0},
		"none":    {api.TokenRequest{}, 0},
		"unknown": {api.TokenRequest{Perm: "root"}, 0},
		"narrow":  {api.TokenRequest{Perm: api.PermWorker}, 0},
		"past":    {api.TokenRequest{Perm: api.PermRead, Expires: time.Now().Add(-time.Hour)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			tok, err := r.Tokens().Create(ctx, c.req)
			var invalid *api.ErrInvalid
			if c.want == 0 {
				if !errors.As(err, &invalid) {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			perms, err := r.Tokens().Verify(ctx, tok)
			if err != nil || len(perms) != c.want {
				t.Fatalf("%v, %v", perms, err)
			}
		})
	}
}

func TestRevocationSurvivesRestart(t *testing.T) {
	ctx := context.Background()
	r := fresh(t)
	tok, err := r.Tokens().Create(ctx, api.TokenRequest{Name: "w", Role: api.RoleWorker})
	if err != nil {
		t.Fatal(err)
	}
	other, err := r.Tokens().New(ctx, []api.Permission{api.PermRead})
	if err != nil {
		t.Fatal(err)
	}
	var id string
	for _, rec := range r.Tokens().List() {
		if rec.Name == "w" {
			id = rec.ID
		}
	}
	for range 2 {
		if err := r.Tokens().Revoke(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	var nf *api.ErrNotFound
	if err := r.Tokens().Revoke(ctx, "x"); !errors.As(err, &nf) {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := r.Tokens().Verify(ctx, tok); err == nil {
			t.Fatal("revoked token accepted")
		}
		if _, err := r.Tokens().Verify(ctx, other); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		r = reopen(t, r.Dir())
	}
}

// A token made by Lotus with the same secret keeps working.
func TestPlainLotusToken(t *testing.T) {
	r := fresh(t)
	sign := func(m jwt.SigningMethod, key any, c jwt.Claims) string {
		s, err := jwt.NewWithClaims(m, c).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	good := sign(jwt.SigningMethodHS256, r.tokens.secrets.PrivateKey, jwt.MapClaims{"Allow": []string{"read", "write", "junk"}})
	if p, err := r.Tokens().Verify(context.Background(), good); err != nil || len(p) != 2 {
		t.Fatalf("%v, %v", p, err)
	}
	for name, tok := range map[string]string{
		"other secret": sign(jwt.SigningMethodHS256, make([]byte, 32), jwt.MapClaims{"Allow": []string{"read"}}),
		"other method": sign(jwt.SigningMethodHS512, r.tokens.secrets.PrivateKey, jwt.MapClaims{"Allow": []string{"read"}}),
		"none":         sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, jwt.MapClaims{"Allow": []string{"admin"}}),
		"expired":      sign(jwt.SigningMethodHS256, r.tokens.secrets.PrivateKey, jwt.MapClaims{"Allow": []string{"read"}, "exp": 1}),
		"unknown id":   sign(jwt.SigningMethodHS256, r.tokens.secrets.PrivateKey, jwt.MapClaims{"Allow": []string{"read"}, "jti": "x"}),
		"long":         strings.Repeat("a", maxToken+1),
		"empty":        "",
	} {
		if p, err := r.Tokens().Verify(context.Background(), tok); err == nil {
			t.Errorf("%s: accepted with %v", name, p)
		}
	}
}

func TestTokenFile(t *testing.T) {
	r := fresh(t)
	path := r.Path(FileToken)
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", st, err)
	}
	first, _ := os.ReadFile(path)
	if p, err := r.Tokens().Verify(context.Background(), string(first)); err != nil || len(p) != len(api.AllPermissions) {
		t.Fatalf("%v, %v", p, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	reopen(t, r.Dir())
	if again, _ := os.ReadFile(path); string(again) != string(first) {
		t.Fatal("a working token was replaced")
	}
}

func FuzzVerify(f *testing.F) {
	r := fresh(f)
	good, err := r.Tokens().Create(context.Background(), api.TokenRequest{Perm: api.PermRead})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, tok string) {
		p, err := r.Tokens().Verify(context.Background(), tok)
		if err == nil && tok != good {
			// Another spelling of the same signed content is all that may pass.
			if len(p) != 1 || p[0] != api.PermRead || strings.Split(tok, ".")[1] != strings.Split(good, ".")[1] {
				t.Fatalf("accepted %q with %v", tok, p)
			}
		}
	})
}
