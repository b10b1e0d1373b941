package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quarry/api"
	"quarry/node"
	"quarry/node/repo"
)

// `init service --pull` asks no private node and holds no token of one; it prints
// what the private node is told.
func TestInitServicePull(t *testing.T) {
	full, _ := fullNode(t)
	t.Setenv("FULLNODE_API_INFO", full)
	t.Setenv("MINER_API_INFO", "a.b.c:/ip4/127.0.0.1/tcp/1/http") // is not used
	run := func(args ...string) (dir, out string, err error) {
		dir = filepath.Join(t.TempDir(), "markets")
		var b bytes.Buffer
		err = newApp(&b).RunContext(t.Context(), append([]string{"miner", "--markets-repo", dir, "init", "service"}, args...))
		return dir, b.String(), err
	}
	for want, args := range map[string][]string{
		"give --actor with its ID address":               {"--pull"},
		"leave --api-sealer and --api-sector-index away": {"--pull", "--actor", "f01000", "--api-sealer", "a.b.c:host:1"},
		"the public host is to hold no token of it":      {"--pull", "--actor", "f01000", "--api-sector-index", "a.b.c:host:1"},
		"--actor: the sealing node tells":                {"--actor", "f01000"},
		`--actor "x"`:                                    {"--pull", "--actor", "x"},
		"--actor f01001":                                 {"--pull", "--actor", "f01001"},
	} {
		dir, out, err := run(args...)
		if err == nil || !strings.Contains(err.Error(), want) || out != "" || repo.Exists(dir) {
			t.Errorf("%v: %v, printed %q", args, err, out)
		}
	}
	dir, out, err := run("--pull", "--actor", "f01000", "--listen", "10.0.0.2:2346")
	if err != nil {
		t.Fatal(err)
	}
	_, line, ok := strings.Cut(out, "[Link]\n  MarketsApiInfo = \"")
	token, rest, _ := strings.Cut(line, ":")
	if !ok || rest != "10.0.0.2:2346\"\n" || !strings.Contains(out, "markets node of f01000 is ready in "+dir) {
		t.Fatalf("printed %q", out)
	}
	r, err := repo.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if perms, err := r.Tokens().Verify(t.Context(), token); err != nil || len(perms) != 1 || perms[0] != api.PermLink {
		t.Errorf("the token may %v, %v", perms, err)
	}
	set, err := node.LoadSettings(dir, nil)
	if err != nil || !set.LinkAccept || set.SealerInfo != "" || set.SectorIndexInfo != "" {
		t.Errorf("%+v, %v", set, err)
	}
}

// Both sides say how the link stands.
func TestInfoShowsTheLink(t *testing.T) {
	at := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	const since, private = " since 2024-01-02T03:04:05Z", "process 7 on x"
	for _, c := range []struct {
		want string
		l    api.LinkStatus
	}{
		{"linked to the markets node at host:1" + since, api.LinkStatus{Opens: true, Peer: "host:1", Connected: true}},
		{"linked to the markets node at host:1" + since + ", lost before: EOF",
			api.LinkStatus{Opens: true, Peer: "host:1", Connected: true, LastError: "EOF"}},
		{"NO LINK to the markets node at host:1" + since + ", it is tried for ever: refused",
			api.LinkStatus{Opens: true, Peer: "host:1", LastError: "refused"}},
		{"linked by the private node (" + private + ")" + since, api.LinkStatus{Peer: private, Connected: true}},
		{"linked by the private node (" + private + ")" + since + ", lost before: EOF",
			api.LinkStatus{Peer: private, Connected: true, LastError: "EOF"}},
		{"NO LINK of the private node" + since + ": it was not opened yet", api.LinkStatus{LastError: "it was not opened yet"}},
	} {
		c.l.Since = at
		var out bytes.Buffer
		printInfo(&out, infoReport{Miner: partReport{Status: api.NodeStatus{Link: &c.l}}})
		if !strings.Contains(out.String(), "         pull mode, "+c.want+"\n") {
			t.Errorf("got %s\nwant %s", out.String(), c.want)
		}
	}
}
