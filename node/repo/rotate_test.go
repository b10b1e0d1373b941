package repo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"quarry/api"
)

// clock is a time that a test sets.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

// clocked gives a repo's tokens a clock.
func clocked(r *Repo) *clock {
	c := &clock{at: time.Now().UTC().Truncate(time.Second)}
	r.tokens.now = c.now
	return c
}

func create(t *testing.T, r *Repo, req api.TokenRequest) string {
	t.Helper()
	token, err := r.Tokens().Create(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func valid(t *testing.T, r *Repo, token string) bool {
	t.Helper()
	_, err := r.Tokens().Verify(t.Context(), token)
	return err == nil
}

func byName(t *testing.T, r *Repo, name string) (out []api.TokenInfo) {
	t.Helper()
	for _, i := range r.Tokens().List() {
		if i.Name == name {
			out = append(out, i)
		}
	}
	return out
}

// A rotation takes effect in the running process: new tokens are signed by the
// new secret, old ones end to the second when it was said, or earlier as they
// would have.
func TestRotationEndsOldTokensAtTheStatedTime(t *testing.T) {
	r := fresh(t)
	c := clocked(r)
	old := create(t, r, api.TokenRequest{Name: "old", Role: api.RoleWorker})
	short := create(t, r, api.TokenRequest{Name: "short", Perm: api.PermRead, Expires: c.at.Add(time.Minute)})
	gone := create(t, r, api.TokenRequest{Name: "gone", Perm: api.PermRead})
	if err := r.Tokens().Revoke(t.Context(), byName(t, r, "gone")[0].ID); err != nil {
		t.Fatal(err)
	}
	lotus, err := jwt.NewWithClaims(jwt.SigningMethodHS256,
		jwt.MapClaims{"Allow": []string{"read"}}).SignedString(r.tokens.secrets.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	id := r.ID()
	out, err := r.Tokens().Rotate(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if !out.Rotated.Equal(c.at) || !out.OldValidUntil.Equal(c.at.Add(time.Hour)) {
		t.Errorf("%+v", out)
	}
	var names []string
	for _, i := range out.Outstanding {
		names = append(names, i.Name)
	}
	if got := strings.Join(names, ","); !strings.Contains(got, "old") || !strings.Contains(got, "short") ||
		strings.Contains(got, "gone") || len(names) != 3 {
		t.Errorf("outstanding: %s", got) // and the old one of local commands
	}
	fresh := create(t, r, api.TokenRequest{Name: "fresh", Perm: api.PermRead})
	if l := byName(t, r, "fresh")[0]; l.Superseded || !l.Expires.IsZero() {
		t.Errorf("%+v", l)
	}
	if l := byName(t, r, "old")[0]; !l.Superseded || !l.Expires.Equal(out.OldValidUntil) {
		t.Errorf("%+v", l)
	}
	if l := byName(t, r, "short")[0]; !l.Superseded || !l.Expires.Equal(c.at.Add(time.Minute)) {
		t.Errorf("%+v", l)
	}
	start := c.at
	for after, want := range map[time.Duration][5]bool{ // old, short, gone, lotus, fresh
		0:                       {true, true, false, true, true},
		time.Minute:             {true, false, false, true, true},
		time.Hour - time.Second: {true, false, false, true, true},
		time.Hour:               {false, false, false, false, true},
		1000 * time.Hour:        {false, false, false, false, true},
	} {
		c.at = start.Add(after)
		if got := [5]bool{valid(t, r, old), valid(t, r, short), valid(t, r, gone), valid(t, r, lotus), valid(t, r, fresh)}; got != want {
			t.Errorf("after %s: %v, want %v", after, got, want)
		}
	}
	if r.ID() != id {
		t.Error("the repo is another now")
	}
}

// With no time left old tokens end at once, and how long is bounded.
func TestRotationBounds(t *testing.T) {
	r := fresh(t)
	old := create(t, r, api.TokenRequest{Name: "old", Role: api.RoleWorker})
	var invalid *api.ErrInvalid
	for _, d := range []time.Duration{-1, maxOldValid + 1} {
		if _, err := r.Tokens().Rotate(t.Context(), d); !errors.As(err, &invalid) || !valid(t, r, old) {
			t.Errorf("%s: %v", d, err)
		}
	}
	if out, err := r.Tokens().Rotate(t.Context(), 0); err != nil || len(out.Outstanding) != 0 || !out.OldValidUntil.Equal(out.Rotated) {
		t.Errorf("%+v, %v", out, err)
	}
	if valid(t, r, old) {
		t.Error("old token accepted")
	}
	for i := range maxFormer {
		if _, err := r.Tokens().Rotate(t.Context(), maxOldValid); err != nil {
			t.Fatalf("rotation %d: %v", i, err)
		}
	}
	if _, err := r.Tokens().Rotate(t.Context(), maxOldValid); !errors.As(err, &invalid) || !strings.Contains(err.Error(), "wait for that") {
		t.Errorf("%v", err)
	}
	if l := byName(t, r, "old")[0]; !l.Superseded || !l.Expires.Equal(l.Created) {
		t.Errorf("of a secret that is forgotten: %+v", l)
	}
}

// What was said of old tokens holds after restarts, and the secret that nobody
// may use any more is taken off the disk.
func TestRotationSurvivesRestart(t *testing.T) {
	r := fresh(t)
	id := r.ID()
	old := create(t, r, api.TokenRequest{Name: "old", Role: api.RoleWorker})
	first := r.tokens.secrets.PrivateKey
	for _, d := range []time.Duration{time.Hour, 0} {
		if _, err := r.Tokens().Rotate(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	newer := create(t, r, api.TokenRequest{Name: "newer", Role: api.RoleWorker})
	for range 2 {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		r = reopen(t, r.Dir())
		if !valid(t, r, old) || !valid(t, r, newer) || r.ID() != id {
			t.Fatalf("old %v, newer %v, id %s", valid(t, r, old), valid(t, r, newer), r.ID())
		}
	}
	s := r.tokens.secrets
	if len(s.Former) != 2 || s.Former[0].PrivateKey == nil || s.Former[1].PrivateKey != nil {
		t.Errorf("%d former secrets", len(s.Former))
	}
	if err := s.open(r.keys, time.Now().Add(2*time.Hour)); err != nil || s.Former[0].PrivateKey != nil {
		t.Errorf("%v", err)
	}
	path, err := r.keys.path(KeyJWTSecret)
	if err != nil {
		t.Fatal(err)
	}
	on, err := readSecrets(r.keys)
	if err != nil || on.Former[0].PrivateKey != nil || string(on.PrivateKey) == string(first) {
		t.Errorf("on the disk: %v", err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

// The token of local commands is renewed by the rotation, and by the next start
// when the process died between the two writes.
func TestLocalCommandsOutliveARotation(t *testing.T) {
	r := fresh(t)
	file := filepath.Join(r.Dir(), FileToken)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Tokens().Rotate(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(file)
	if err != nil || string(after) == string(before) || !r.Tokens().Lasts(t.Context(), string(after)) {
		t.Fatalf("not renewed, %v", err)
	}
	// Only the secret is written, as by a process that dies then.
	if _, err := r.Tokens().replaceSecret(time.Hour); err != nil {
		t.Fatal(err)
	}
	if !valid(t, r, string(after)) || r.Tokens().Lasts(t.Context(), string(after)) {
		t.Error("valid for an hour, and no longer")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = reopen(t, r.Dir())
	if last, err := os.ReadFile(file); err != nil || string(last) == string(after) || !r.Tokens().Lasts(t.Context(), string(last)) {
		t.Errorf("not renewed at the start, %v", err)
	}
}

// A rotation that cannot be written changes nothing.
func TestFailedRotationKeepsTheSecret(t *testing.T) {
	r := fresh(t)
	old := create(t, r, api.TokenRequest{Name: "old", Role: api.RoleWorker})
	keys := r.keys.dir
	if err := os.Rename(keys, keys+"-away"); err != nil {
		t.Fatal(err)
	}
	_, err := r.Tokens().Rotate(t.Context(), 0)
	if err == nil || !strings.Contains(err.Error(), "is the old one still") || !valid(t, r, old) {
		t.Errorf("%v", err)
	}
	if err := os.Rename(keys+"-away", keys); err != nil {
		t.Fatal(err)
	}
	if made := create(t, r, api.TokenRequest{Perm: api.PermRead}); !r.Tokens().Lasts(t.Context(), made) {
		t.Error("signed by another secret")
	}
	// The file had its place when the error came: that is the secret now.
	next, err := r.tokens.secrets.rotated(time.Now(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.keys.replace(KeyJWTSecret, next); err != nil {
		t.Fatal(err)
	}
	if err := r.tokens.settle(next, errors.New("no sync")); !strings.Contains(err.Error(), "was rotated, though") ||
		!r.tokens.secrets.equal(next) {
		t.Errorf("%v", err)
	}
}

// Records of releases that could not rotate are of the first secret.
func TestRecordsWithoutASecretAreOfTheFirst(t *testing.T) {
	r := fresh(t)
	create(t, r, api.TokenRequest{Name: "old", Role: api.RoleWorker})
	rec := r.tokens.records[byName(t, r, "old")[0].ID]
	rec.Secret = ""
	if err := r.tokens.save(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	if l := byName(t, r, "old")[0]; l.Superseded {
		t.Errorf("%+v", l)
	}
	out, err := r.Tokens().Rotate(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Tokens().Rotate(t.Context(), 2*time.Hour); err != nil {
		t.Fatal(err)
	}
	if l := byName(t, r, "old")[0]; !l.Superseded || !l.Expires.Equal(out.OldValidUntil) {
		t.Errorf("%+v", l)
	}
}

func TestTokensRememberTheirUse(t *testing.T) {
	r := fresh(t)
	c := clocked(r)
	token := create(t, r, api.TokenRequest{Name: "w", Role: api.RoleWorker})
	if l := byName(t, r, "w")[0]; !l.LastUsed.IsZero() {
		t.Errorf("%+v", l)
	}
	valid(t, r, token)
	if l := byName(t, r, "w")[0]; !l.LastUsed.Equal(c.at) {
		t.Errorf("%+v", l)
	}
}

// Times of tokens are whole seconds; one that would not live for one is refused.
func TestTokensThatWouldBeOverAreRefused(t *testing.T) {
	r := fresh(t)
	c := clocked(r)
	var invalid *api.ErrInvalid
	for d, good := range map[time.Duration]bool{-time.Hour: false, 0: false, time.Second - 1: false, time.Second: true} {
		_, err := r.Tokens().Create(context.Background(), api.TokenRequest{Perm: api.PermRead, Expires: c.at.Add(d)})
		if good != (err == nil) || !good && !errors.As(err, &invalid) {
			t.Errorf("%s: %v", d, err)
		}
	}
}
