package client_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"context"

	"quarry/api"
	"quarry/api/apitest"
	"quarry/api/client"
)

// A client whose token is in a file takes up a new one as soon as the old one is
// refused; another address in the file is another peer and is not taken.
func TestNewTokenInTheFileIsTakenUp(t *testing.T) {
	var common api.CommonStruct
	common.Internal.Version = func(context.Context) (api.VersionInfo, error) { return api.VersionInfo{Version: "x"}, nil }
	s := apitest.Serve(t, apitest.Parts{Common: &common})
	file := filepath.Join(t.TempDir(), "peer")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.Tokens.Set("o.l.d", api.PermRead)
	put(s.Info("o.l.d"))
	c, err := client.Miner(t.Context(), client.Config{Info: "@" + file})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := func() error { _, err := c.Version(t.Context()); return err }
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	s.Tokens.Set("o.l.d")
	s.Tokens.Set("n.e.w", api.PermRead)
	if err := ask(); !client.IsTokenRefused(err) {
		t.Fatalf("nothing was renewed, and yet %v", err)
	}
	for _, text := range []string{"junk", "n.e.w:http://127.0.0.1:1"} {
		put(text)
		if err := ask(); !client.IsTokenRefused(err) {
			t.Errorf("%s: %v", text, err)
		}
	}
	put(s.Info("n.e.w"))
	if err := ask(); err != nil || c.Info().Token.Reveal() != "n.e.w" {
		t.Errorf("%v", err)
	}
}

// What is shown to a person comes without anything a terminal would obey, errors
// too; programs get it as it is.
func TestAnswersForATerminal(t *testing.T) {
	const evil, shown = "a\x1b\nb", `a\x1b\nb`
	var common api.CommonStruct
	common.Internal.Version = func(context.Context) (api.VersionInfo, error) { return api.VersionInfo{Version: evil}, nil }
	common.Internal.AuthRevoke = func(context.Context, string) error { return &api.ErrNotFound{What: evil} }
	s := apitest.Serve(t, apitest.Parts{Common: &common})
	for terminal, want := range map[bool]string{true: shown, false: evil} {
		c, err := client.Miner(t.Context(), client.Config{Info: s.Info(apitest.AdminToken), Terminal: terminal})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if v, err := c.Version(t.Context()); err != nil || v.Version != want {
			t.Errorf("terminal %v: %q, %v", terminal, v.Version, err)
		}
		if err := c.AuthRevoke(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("terminal %v: %v", terminal, err)
		}
	}
}
