package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"quarry/api"
)

// Whoever owns the markets host gets nothing out of a private node and a worker,
// and changes nothing.
func TestMarketsHostGetsNothing(t *testing.T) {
	a, err := newAttack(newTarget(t))
	require.NoError(t, err)
	defer a.close()
	require.Len(t, a.loot, 2)
	var out bytes.Buffer
	sum, err := run(t.Context(), &out, a.groups(40))
	require.NoError(t, err)
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "refused  ") {
			t.Error(line)
		}
	}
	require.Zero(t, sum.got)
	require.Greater(t, sum.refused, 400)
	require.NoError(t, a.trap.empty())
	for _, k := range api.AllFileTypes {
		locs, err := a.Judge.StorageFindSector(t.Context(), sector, k)
		require.NoError(t, err)
		require.Len(t, locs, 1, "%s files are where they were", k)
	}

	// The same tries, made with the token of an admin, get in: they can.
	admin, err := a.Judge.AuthCreate(t.Context(), api.TokenRequest{Perm: api.PermAdmin})
	require.NoError(t, err)
	a.token, a.loot = admin, []string{admin}
	for _, g := range []group{
		{"files", a.files()}, {"paths", a.paths()}, {"routes", a.routes()},
		{"methods", some(a.methods(), "StorageList", "TaskList", "NodeStatus")},
	} {
		out.Reset()
		sum, err := run(t.Context(), &out, []group{g})
		require.NoError(t, err)
		require.GreaterOrEqual(t, sum.got, 3, g.name)
	}
}

func some(all []try, names ...string) (out []try) {
	for _, t := range all {
		for _, n := range names {
			if t.name == "method "+n {
				out = append(out, t)
			}
		}
	}
	return out
}

// What gets in is said, on one line, and counted.
func TestWhatGetsInIsSaid(t *testing.T) {
	var out bytes.Buffer
	sum, err := run(t.Context(), &out, []group{{"g", []try{
		{"b", func(context.Context) error { return errors.New("a\nsecret") }},
		{"a", func(context.Context) error { return nil }},
	}}})
	require.NoError(t, err)
	require.Equal(t, outcome{refused: 1, got: 1}, sum)
	require.Equal(t, "refused  g: a\nGOT IN   g: b: a secret\n", out.String())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = run(ctx, &out, []group{{"g", []try{{"a", nil}}}})
	require.ErrorIs(t, err, context.Canceled)
}

func TestRepoWithoutTokenIsNoLoot(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.toml"), []byte("SealerApiInfo = \"http://x\"\n"), 0o600))
	_, err := newAttack(target{MarketsRepo: dir})
	require.ErrorContains(t, err, "no token")
}

func TestTrapNotesWhoComes(t *testing.T) {
	a, err := newTrap()
	require.NoError(t, err)
	defer a.close()
	require.NoError(t, a.empty())
	at := attack{trap: a, http: newClient()}
	defer at.http.CloseIdleConnections()
	_, err = at.ask(t.Context(), "GET", a.url+"/remote/x", "bearer", nil)
	require.NoError(t, err)
	require.ErrorContains(t, a.empty(), "GET /remote/x Bearer bearer")
}
