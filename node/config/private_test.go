package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quarry/internal/secret"
)

// A config with the token of another process is read by its owner only; without
// one only who may change it matters.
func TestConfigsWithTokensArePrivate(t *testing.T) {
	const jwt = "eyJhbGciOi.eyJBbGxvdy.c2lnbmF0dXJl"
	path := filepath.Join(t.TempDir(), "config.toml")
	for name, c := range map[string]struct {
		text    string
		mode    os.FileMode
		refused string
	}{
		"token":                 {"[Subsystems]\nSealerApiInfo = \"a.b.c:h:1\"\n", 0o644, "chmod 600 "},
		"token of the index":    {"[Subsystems]\nSectorIndexApiInfo = \"a.b.c:h:1\"\n", 0o640, "chmod 600 "},
		"what may be a token":   {"[Subsystems]\nSealerApiInfo = \"junk\"\n", 0o604, "chmod 600 "},
		"token in a comment":    {"# " + jwt + "\n", 0o644, "chmod 600 "},
		"token, private":        {"[Subsystems]\nSealerApiInfo = \"a.b.c:h:1\"\n", 0o600, ""},
		"address only":          {"[Subsystems]\nSealerApiInfo = \"h:1\"\n", 0o644, ""},
		"file":                  {"[Subsystems]\nSealerApiInfo = \"@/x\"\n", 0o644, ""},
		"nothing":               {"", 0o664, ""},
		"anybody may change it": {"", 0o602, "chmod o-w "},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path, nil)
		var exposed *secret.ErrExposed
		if c.refused == "" && err != nil || c.refused != "" &&
			(!errors.As(err, &exposed) || !strings.Contains(err.Error(), c.refused+path)) {
			t.Errorf("%s: %v", name, err)
		}
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != c.mode {
			t.Errorf("%s: mode %v, %v", name, st.Mode(), err)
		}
	}
}
