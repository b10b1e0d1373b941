package node

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-datastore"

	"quarry/api"
	"quarry/node/repo"
)

// routeRights says of each route which tokens get in. A new route belongs here:
// who should reach it, and does a public host that was broken into have to?
var routeRights = map[string]string{
	"/health/livez":   "anybody",
	"/health/readyz":  "anybody",
	"/staged/":        "nobody",                                    // each deal has a bearer of its own
	"/rpc/v0":         "markets-peer worker read write sign admin", // each method has its own
	"/rpc/v1":         "markets-peer worker read write sign admin",
	"GET /remote/":    "admin", // else a bearer that opens the one file
	"DELETE /remote/": "admin",
	"GET /blobs/":     "worker admin",
	"PUT /blobs/":     "worker admin",
}

// someName is a well-formed name for each route that takes one.
var someName = map[string]string{
	"/staged/":        "00000000-0000-4000-8000-000000000000",
	"GET /remote/":    "sealed/s-t01000-0",
	"DELETE /remote/": "update/s-t01000-99",
	"GET /blobs/":     "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
	"PUT /blobs/":     "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
}

// tokensAt makes a token of every kind at a repo.
func tokensAt(t *testing.T, r *repo.Repo) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, role := range []api.Role{api.RoleMarketsPeer, api.RoleWorker} {
		out[string(role)] = must(r.Tokens().Create(t.Context(), api.TokenRequest{Name: string(role), Role: role}))
	}
	for _, p := range []api.Permission{api.PermRead, api.PermWrite, api.PermSign, api.PermAdmin} {
		out[string(p)] = must(r.Tokens().Create(t.Context(), api.TokenRequest{Name: string(p), Perm: p}))
	}
	return out
}

// forgeries are tokens that nobody was given, or that are worth nothing any more.
func forgeries(t *testing.T, r *repo.Repo, peer string) map[string]string {
	t.Helper()
	enc := base64.RawURLEncoding.EncodeToString
	sign := func(body, secret string) string {
		text := enc([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc([]byte(body))
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(text))
		return text + "." + enc(mac.Sum(nil))
	}
	const all = `{"Allow":["read","write","sign","admin"]}`
	parts := strings.Split(peer, ".")
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	revoked := must(r.Tokens().Create(t.Context(), api.TokenRequest{Name: "revoked", Perm: api.PermAdmin}))
	list := r.Tokens().List()
	i := slices.IndexFunc(list, func(i api.TokenInfo) bool { return i.Name == "revoked" })
	if err := r.Tokens().Revoke(t.Context(), list[i].ID); err != nil {
		t.Fatal(err)
	}
	public, _ := r.Tokens().FileKey().Public().(ed25519.PublicKey)
	return map[string]string{
		"no token":                  "",
		"nonsense":                  "wrong",
		"no algorithm":              enc([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + enc([]byte(all)) + ".",
		"no algorithm, but signed":  enc([]byte(`{"alg":"None"}`)) + "." + enc([]byte(all)) + "." + parts[2],
		"another secret":            sign(all, "another secret"),
		"an empty secret":           sign(all, ""),
		"the file key as secret":    sign(all, string(public)),
		"a peer's rights changed":   parts[0] + "." + enc([]byte(strings.Replace(string(claims), `"peer"`, `"admin"`, 1))) + "." + parts[2],
		"another algorithm":         enc([]byte(`{"alg":"HS512","typ":"JWT"}`)) + "." + parts[1] + "." + parts[2],
		"without its signature":     parts[0] + "." + parts[1] + ".",
		"revoked":                   revoked,
		"longer than tokens may be": strings.Repeat("a.b.c", 2<<10),
	}
}

// composed is a node with all its routes and nothing that runs but its listener.
func composed(t *testing.T, set Settings) *Node {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	n := newNode(set)
	t.Cleanup(func() {
		cancel()
		if err := n.close(); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	if err := n.compose(ctx, cancel); err != nil {
		t.Fatal(err)
	}
	return n
}

// Every route of both nodes, asked with every kind of token and with forged ones.
func TestWhoGetsInWhere(t *testing.T) {
	full := fakeNode(t)
	seen := map[string]bool{}
	for name, set := range map[string]Settings{"private": privateSettings(t, full, "127.0.0.1:0"),
		"markets": marketsSettings(t, full, "a.b.c:"+freePort(t))} {
		n := composed(t, set)
		tokens := tokensAt(t, n.repo)
		forged := forgeries(t, n.repo, tokens["markets-peer"])
		for _, r := range n.srv.Routes() {
			who, listed := routeRights[r.Pattern]
			if !listed {
				t.Errorf("%s of the %s node is in no table: say above who may reach it", r.Pattern, name)
				continue
			}
			seen[r.Pattern] = true
			method, path, found := strings.Cut(r.Pattern, " ")
			if !found {
				method, path = http.MethodPost, r.Pattern
			}
			if r.Pattern == "/staged/" {
				method = http.MethodGet
			}
			url := "http://" + n.srv.Addr() + path + someName[r.Pattern]
			for kind, token := range tokens {
				code := status(t, method, url, token)
				in := code != http.StatusUnauthorized && code != http.StatusForbidden
				if may := who == "anybody" || slices.Contains(strings.Fields(who), kind); in != may {
					t.Errorf("%s of the %s node with a token %s: may is %v, got %d", r.Pattern, name, kind, may, code)
				}
			}
			for kind, token := range forged {
				if code := status(t, method, url, token); (code == http.StatusUnauthorized) == (who == "anybody") {
					t.Errorf("%s of the %s node with %s: %d", r.Pattern, name, kind, code)
				}
			}
		}
	}
	for pattern := range routeRights {
		if !seen[pattern] {
			t.Errorf("%s is listed, but no node has it", pattern)
		}
	}
}

// The token that earlier versions showed to all that serve sector files is worth
// nothing once this one has started, whoever has come to know it.
func TestFormerTokenForFilesIsRevoked(t *testing.T) {
	set := privateSettings(t, fakeNode(t), "127.0.0.1:0")
	r := must(repo.Open(set.RepoDir))
	token := must(r.Tokens().Create(t.Context(), api.TokenRequest{Name: "this node, for sector files", Role: api.RoleWorker}))
	if err := r.Datastore(repo.Node).Put(t.Context(), dataTokenKey, []byte(token)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	n := composed(t, set)
	if _, err := n.repo.Tokens().Verify(t.Context(), token); err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("the token is believed: %v", err)
	}
	if _, err := n.repo.Datastore(repo.Node).Get(t.Context(), dataTokenKey); err != datastore.ErrNotFound {
		t.Errorf("the token is kept: %v", err)
	}
}

// Whose a URL is outlasts the node: another worker cannot take it while the first
// has not come back, and can when the first one's token is revoked.
func TestURLBelongsToItsTokenAfterARestart(t *testing.T) {
	set := privateSettings(t, fakeNode(t), "127.0.0.1:0")
	meta := api.PathMeta{ID: "of-a-worker", Weight: 1, CanSeal: true}
	as := func(n *Node, id string) context.Context {
		perms, _ := api.RolePermissions(api.RoleWorker)
		return api.WithCaller(t.Context(), api.Caller{Token: id, Perms: perms})
	}
	attach := func(n *Node, id string) error {
		return n.storage.StorageAttach(as(n, id), meta, "http://worker:3456/remote", api.FsStat{})
	}
	t.Run("first life", func(t *testing.T) {
		n := composed(t, set)
		for _, name := range []string{"one", "two"} {
			must(n.repo.Tokens().Create(t.Context(), api.TokenRequest{Name: name, Role: api.RoleWorker}))
		}
		if err := attach(n, idOf(t, n, "one")); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("second life", func(t *testing.T) {
		n := composed(t, set)
		one, two := idOf(t, n, "one"), idOf(t, n, "two")
		if err := attach(n, two); err == nil || !strings.Contains(err.Error(), "belongs to another token") {
			t.Errorf("another token took the URL: %v", err)
		}
		if err := attach(n, one); err != nil {
			t.Errorf("its own token is refused: %v", err)
		}
		if err := n.repo.Tokens().Revoke(t.Context(), one); err != nil {
			t.Fatal(err)
		}
		if err := attach(n, two); err != nil {
			t.Errorf("the URL of a revoked token is not free: %v", err)
		}
	})
}

func idOf(t *testing.T, n *Node, name string) string {
	t.Helper()
	for _, rec := range n.repo.Tokens().List() {
		if rec.Name == name {
			return rec.ID
		}
	}
	t.Fatalf("no token %s", name)
	return ""
}
