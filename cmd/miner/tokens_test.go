package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/big"
	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"quarry/api"
	"quarry/api/apitest"
	"quarry/internal/command"
)

// tokenOfID is a token with an ID inside, as the nodes make them.
func tokenOfID(id string) string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"HS256"}`)) + "." + part([]byte(`{"Allow":["admin"],"jti":"`+id+`"}`)) + ".c2lnbmF0dXJl"
}

// desk is a node of which only the tokens work.
type desk struct {
	api.CommonStruct
	list    []api.TokenInfo
	created []api.TokenRequest
	revoked []string
	rotated []int64
}

// serveDesk makes MINER_API_INFO name the desk, with the token of ID "mine".
func serveDesk(t *testing.T) *desk {
	t.Helper()
	d := new(desk)
	in := &d.CommonStruct.Internal
	in.AuthList = func(context.Context) ([]api.TokenInfo, error) { return d.list, nil }
	in.AuthCreate = func(_ context.Context, req api.TokenRequest) (string, error) {
		d.created = append(d.created, req)
		return "n.e.w", nil
	}
	in.AuthRevoke = func(_ context.Context, id string) error {
		d.revoked = append(d.revoked, id)
		return nil
	}
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	in.AuthRotate = func(_ context.Context, seconds int64) (api.TokenRotation, error) {
		d.rotated = append(d.rotated, seconds)
		out := api.TokenRotation{Rotated: at, OldValidUntil: at.Add(time.Duration(seconds) * time.Second), Outstanding: []api.TokenInfo{}}
		if seconds > 0 {
			out.Outstanding = append(out.Outstanding, api.TokenInfo{ID: "7", Name: "markets", Role: api.RoleMarketsPeer,
				Expires: out.OldValidUntil})
		}
		return out, nil
	}
	s := apitest.Serve(t, apitest.Parts{Common: d})
	mine := tokenOfID("mine")
	s.Tokens.Set(mine, api.AllPermissions...)
	t.Setenv("MINER_API_INFO", s.Info(mine))
	return d
}

// miner runs a command line with what is typed at a terminal, and gives what it
// printed and asked.
func miner(t *testing.T, typed string, args ...string) (out, asked string, err error) {
	t.Helper()
	var o, e bytes.Buffer
	app := newApp(&o)
	app.Reader, app.ErrWriter = strings.NewReader(typed), &e
	err = command.Run(t.Context(), app, append([]string{"miner"}, args...))
	return o.String(), e.String(), err
}

// A token that would be over is not asked for.
func TestLivesOfTokensMustBePositive(t *testing.T) {
	d := serveDesk(t)
	for _, span := range []string{"-1h", "0", "0s", "999ms", "-1ns"} {
		if out, _, err := miner(t, "", "auth", "create-token", "--perm", "read", "--expires="+span); err == nil ||
			!strings.Contains(err.Error(), "--expires ") || out != "" {
			t.Errorf("%s: %q, %v", span, out, err)
		}
	}
	if len(d.created) != 0 {
		t.Fatalf("%+v", d.created)
	}
	for span, want := range map[string]time.Duration{"1s": time.Second, "720h": 720 * time.Hour} {
		d.created = nil
		before := time.Now()
		if out, _, err := miner(t, "", "auth", "create-token", "--perm", "read", "--expires", span); err != nil || out != "n.e.w\n" {
			t.Fatalf("%s: %q, %v", span, out, err)
		}
		if at := d.created[0].Expires; at.Before(before.Add(want)) || at.After(time.Now().Add(want)) {
			t.Errorf("%s: %s", span, at)
		}
	}
	d.created = nil
	if _, _, err := miner(t, "", "auth", "create-token", "--role", "worker"); err != nil || !d.created[0].Expires.IsZero() {
		t.Errorf("%+v, %v", d.created, err)
	}
}

// Revoking the token that the command itself uses, or one that somebody used just
// now, asks first.
func TestRevokingATokenInUseAsks(t *testing.T) {
	d := serveDesk(t)
	d.list = []api.TokenInfo{
		{ID: "busy", Name: "worker 3", LastUsed: time.Now().Add(-9 * time.Minute)},
		{ID: "idle", LastUsed: time.Now().Add(-11 * time.Minute)},
		{ID: "gone", LastUsed: time.Now(), Revoked: true},
		{ID: "never"},
	}
	for _, c := range []struct {
		id, typed string
		args      []string
		asks      string
		done      bool
	}{
		{"mine", "yes\n", nil, "shut out this command itself, whose token it is", true},
		{"mine", "y\n", nil, "this command itself", false},
		{"mine", "", nil, "this command itself", false},
		{"mine", "", []string{"--yes"}, "", true},
		{"busy", "no\n", nil, `whoever used token "worker 3" 9m0s ago`, false},
		{"busy", "yes", nil, "whoever used", true},
		{"idle", "yes", nil, "whoever uses token idle", true},
		{"gone", "yes", nil, "whoever uses token gone", true},
		{"never", "", []string{"--yes"}, "", true},
	} {
		d.revoked = nil
		_, asked, err := miner(t, c.typed, append(append([]string{"auth", "revoke"}, c.args...), c.id)...)
		if c.done != (err == nil) || c.done != (len(d.revoked) == 1) || !c.done &&
			!strings.Contains(err.Error(), "nothing was done") && !strings.Contains(err.Error(), "nobody answered") {
			t.Errorf("%s, %q: %v, revoked %v", c.id, c.typed, err, d.revoked)
		}
		if c.asks == "" && asked != "" || !strings.Contains(asked, c.asks) {
			t.Errorf("%s: asked %q", c.id, asked)
		}
	}
}

// Where nobody can be asked, the flag that answers is named.
func TestNobodyToAsk(t *testing.T) {
	serveDesk(t)
	pipe, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = pipe.Close(), w.Close() }()
	app := newApp(new(bytes.Buffer))
	app.Reader = pipe
	if err := command.Run(t.Context(), app, []string{"miner", "auth", "revoke", "mine"}); err == nil ||
		!strings.Contains(err.Error(), "add --yes") {
		t.Errorf("%v", err)
	}
}

func TestRotateTellsWhatEndsWhen(t *testing.T) {
	d := serveDesk(t)
	out, _, err := miner(t, "", "auth", "rotate")
	if err != nil || !strings.Contains(out, "rotated at 2030-01-02T03:04:05Z; tokens made before are valid until 2030-01-03T03:04:05Z") ||
		!strings.Contains(out, "markets-peer") || !strings.Contains(out, "to be replaced until then") {
		t.Errorf("%q, %v", out, err)
	}
	if out, asked, err := miner(t, "yes\n", "auth", "rotate", "--old-valid-for", "0"); err != nil ||
		!strings.Contains(out, "none is valid any more") || !strings.Contains(asked, "would end every token") {
		t.Errorf("%q, %q, %v", out, asked, err)
	}
	if _, _, err := miner(t, "", "auth", "rotate", "--old-valid-for", "0"); err == nil {
		t.Error("nobody said yes")
	}
	if out, _, err := miner(t, "", "auth", "rotate", "--json", "--old-valid-for", "2160h"); err != nil ||
		!strings.Contains(out, `"Outstanding"`) {
		t.Errorf("%q, %v", out, err)
	}
	for _, span := range []string{"-1s", "1500ms", "2160h1s"} {
		if _, _, err := miner(t, "yes\n", "auth", "rotate", "--old-valid-for="+span); err == nil ||
			!strings.Contains(err.Error(), "--old-valid-for ") {
			t.Errorf("%s: %v", span, err)
		}
	}
	if len(d.rotated) != 3 || d.rotated[0] != 86400 || d.rotated[1] != 0 || d.rotated[2] != 2160*3600 {
		t.Errorf("%v", d.rotated)
	}
}

func TestListSaysWhatIsValid(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for want, k := range map[string]api.TokenInfo{
		"valid":                            {},
		"valid until 2030-01-02T03:04:06Z": {Expires: now.Add(time.Second)},
		"valid until 2030-01-02T03:04:07Z (secret rotated)": {Expires: now.Add(2 * time.Second), Superseded: true},
		"expired":             {Expires: now},
		"ended by a rotation": {Expires: now, Superseded: true},
		"revoked":             {Expires: now.Add(time.Hour), Superseded: true, Revoked: true},
	} {
		if got := tokenState(k, now); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	d := serveDesk(t)
	d.list = []api.TokenInfo{{ID: "1", Name: "a", LastUsed: now}, {ID: "2", Revoked: true}}
	out, _, err := miner(t, "", "auth", "list")
	if err != nil || !strings.Contains(out, "2030-01-02T03:04:05Z") || !strings.Contains(out, "revoked") {
		t.Errorf("%q, %v", out, err)
	}
}

// A token can go into a file of its owner instead of onto the screen, and that
// file is taken wherever an API info is.
func TestTokensGoByFile(t *testing.T) {
	d := serveDesk(t)
	path := filepath.Join(t.TempDir(), "peer")
	out, _, err := miner(t, "", "auth", "api-info", "--role", "markets-peer", "--out", path)
	if err != nil || strings.Contains(out, "n.e.w") || !strings.Contains(out, "@"+path) {
		t.Fatalf("%q, %v", out, err)
	}
	b, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(b), "MINER_API_INFO=n.e.w:http://127.0.0.1:") {
		t.Errorf("%q, %v", b, err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	d.created = nil
	if _, _, err := miner(t, "", "auth", "create-token", "--role", "worker", "--out", path); err == nil ||
		!strings.Contains(err.Error(), "exists already") || len(d.created) != 0 {
		t.Errorf("%v, made %v", err, d.created)
	}
	if err := os.WriteFile(path, []byte(os.Getenv("MINER_API_INFO")), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MINER_API_INFO", "@"+path)
	if _, _, err := miner(t, "", "auth", "list"); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := miner(t, "", "auth", "list"); err == nil || !strings.Contains(err.Error(), "MINER_API_INFO: ") ||
		!strings.Contains(err.Error(), "chmod 600 "+path) {
		t.Errorf("%v", err)
	}
}

// A mistake in what names a node is told with the name of what holds it, and
// without the token.
func TestWrongAPIInfosAreNamed(t *testing.T) {
	token := tokenOfID("x")
	for _, name := range []string{"MINER_API_INFO", "MARKETS_API_INFO"} {
		t.Setenv("MINER_API_INFO", "")
		t.Setenv("MARKETS_API_INFO", "")
		t.Setenv(name, token+"/ip4/127.0.0.1/tcp/1/http")
		args := []string{"auth", "list"}
		if name == "MARKETS_API_INFO" {
			args = []string{"--call-on-markets", "auth", "list"}
		}
		if _, _, err := miner(t, "", args...); err == nil || !strings.Contains(err.Error(), name+": ") ||
			!strings.Contains(err.Error(), "colon") || strings.Contains(err.Error(), token[:20]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Setenv("MINER_API_INFO", "")
	for _, flag := range []string{"api-sealer", "api-sector-index"} {
		_, _, err := miner(t, "", "--markets-repo", t.TempDir(), "init", "service", "--"+flag, token+"x/ip4/127.0.0.1/tcp/1/http")
		if err == nil || !strings.Contains(err.Error(), "--"+flag+": ") || !strings.Contains(err.Error(), "colon") ||
			strings.Contains(err.Error(), token[:20]) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

// A token on the command line is seen by everybody: that is said, and not with a
// file.
func TestTokensOnTheCommandLineAreWarnedOf(t *testing.T) {
	t.Setenv("FULLNODE_API_INFO", "")
	path := filepath.Join(t.TempDir(), "peer")
	if err := os.WriteFile(path, []byte("a.b.c:h:1"), 0o600); err != nil {
		t.Fatal(err)
	}
	for value, warned := range map[string]bool{"a.b.c:h:1": true, "@" + path: false} {
		_, said, err := miner(t, "", "--markets-repo", t.TempDir(), "init", "service", "--api-sealer", value)
		if err == nil || !strings.Contains(err.Error(), "FULLNODE_API_INFO") { // the next thing that is missing
			t.Errorf("%s: %v", value, err)
		}
		if got := strings.Contains(said, "can see the token after --api-sealer"); got != warned || strings.Contains(said, "a.b.c") {
			t.Errorf("%s: %q", value, said)
		}
	}
}

// No help text shows what is in the environment.
func TestHelpShowsNoToken(t *testing.T) {
	t.Setenv("MINER_API_INFO", tokenOfID("x")+":h:1")
	t.Setenv("MARKETS_API_INFO", tokenOfID("x")+":h:1")
	var walk func(path []string, all []*cli.Command)
	walk = func(path []string, all []*cli.Command) {
		for _, c := range all {
			at := append(append([]string{}, path...), c.Name)
			out, _, err := miner(t, "", append(at, "--help")...)
			if err != nil || strings.Contains(out, "eyJ") {
				t.Errorf("%v: %q, %v", at, out, err)
			}
			walk(at, c.Subcommands)
		}
	}
	walk(nil, newApp(nil).Commands)
}

// Whatever a server of a deal's data wrote, a terminal shows it and does not obey,
// and a line break in it makes no line.
func TestDealsOfStrangersAreShownHarmless(t *testing.T) {
	const evil = "404 \x1b]0;x\a\x1b[31m\u202e\u009b\u200b\nerror: forged"
	deal := api.DealInfo{
		UUID:         uuid.New(),
		Err:          evil,
		Retry:        api.DealRetryAuto,
		SealingState: api.SectorState(evil),
		Log:          []api.DealLogEntry{{Message: evil}},
	}
	deal.Proposal.StoragePricePerEpoch = big.Zero()
	deal.Proposal.ProviderCollateral, deal.Proposal.ClientCollateral = big.Zero(), big.Zero()
	var m api.MarketsStruct
	m.Internal.DealsQuery = func(context.Context, api.DealQuery) (api.DealPage, error) {
		return api.DealPage{Deals: []api.DealInfo{deal}}, nil
	}
	m.Internal.DealsGet = func(context.Context, api.UUID, bool) (api.DealInfo, error) { return deal, nil }
	m.Internal.DealsRetry = func(context.Context, api.UUID) error { return &api.ErrInvalid{What: evil, Reason: evil} }
	t.Setenv("MARKETS_PATH", "")
	t.Setenv("MARKETS_API_INFO", apitest.Serve(t, apitest.Parts{Markets: &m}).Info(apitest.AdminToken))
	for _, args := range [][]string{{"list"}, {"list", "--json"}, {"get", deal.UUID.String()}, {"get", "--log", deal.UUID.String()},
		{"get", "--json", "--log", deal.UUID.String()}} {
		out, _, err := miner(t, "", append([]string{"storage-deals"}, args...)...)
		if err != nil || strings.ContainsAny(out, "\x1b\a\u202e\u009b\u200b") || strings.Contains(out, "\nerror: forged") {
			t.Errorf("%v: %q, %v", args, out, err)
		}
		if want := `404 \x1b]0;x\x07\x1b[31m\u202e\u009b\u200b\nerror: forged`; args[0] == "get" && len(args) == 3 &&
			!strings.Contains(out, want) {
			t.Errorf("%v: %q", args, out)
		}
	}
	_, _, err := miner(t, "", "storage-deals", "retry", deal.UUID.String())
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\a\u202e\n") {
		t.Errorf("%v", err)
	}
}
