package repo

import (
	"slices"
	"testing"
	"time"

	"quarry/api"
)

// A token of a role may do what the role may do now, not what it was made with.
func TestRoleIsWhatItIsNow(t *testing.T) {
	old := []api.Permission{api.PermRead, api.PermWrite, api.PermAdmin}
	peer, _ := api.RolePermissions(api.RoleMarketsPeer)
	for name, c := range map[string]struct {
		rec  api.TokenInfo
		want []api.Permission
	}{
		"a role":      {api.TokenInfo{Role: api.RoleMarketsPeer, Allow: old}, peer},
		"a lost role": {api.TokenInfo{Role: "gone", Allow: old}, nil},
		"words":       {api.TokenInfo{Allow: old}, old},
	} {
		if got := rights(c.rec); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestValidIDs(t *testing.T) {
	ended, later := time.Now().Add(-time.Second), time.Now().Add(time.Hour)
	now := make([]byte, 32)
	tokens := &Tokens{now: time.Now, records: map[string]record{
		"lasts": {}, "lives": {TokenInfo: api.TokenInfo{Expires: later}}, "ended": {TokenInfo: api.TokenInfo{Expires: ended}},
		"revoked": {TokenInfo: api.TokenInfo{Revoked: true}}, "both": {TokenInfo: api.TokenInfo{Revoked: true, Expires: later}},
		"rotated": {Secret: "former"}, "rotated out": {Secret: "gone"}, "of now": {Secret: fingerprint(now)},
	}}
	tokens.secrets = secrets{PrivateKey: now, Former: []former{{Fingerprint: "former", Until: later}, {Fingerprint: "gone", Until: ended}}}
	for id, want := range map[string]bool{
		"rotated": true, "rotated out": false, "of now": true,
		"lasts": true, "lives": true, "ended": false, "revoked": false, "both": false, "unknown": false, "": false,
		"sha256:00": true, // of a token that was not issued here
	} {
		if got := tokens.Valid(id); got != want {
			t.Errorf("%s: %v", id, got)
		}
	}
}

// The key of bearers is the same as long as the secret is, and another with
// another one.
func TestFileKeyFollowsTheSecret(t *testing.T) {
	of := func(secret string) *Tokens { return &Tokens{secrets: secrets{PrivateKey: []byte(secret)}} }
	a, b := of("one secret of thirty-two bytes.."), of("two secret of thirty-two bytes..")
	if !a.FileKey().Equal(a.FileKey()) || a.FileKey().Equal(b.FileKey()) {
		t.Error("the key does not follow the secret")
	}
	if slices.Equal(a.FileKey().Seed(), a.secrets.PrivateKey) {
		t.Error("the key is the secret")
	}
}
