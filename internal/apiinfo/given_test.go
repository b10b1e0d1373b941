package apiinfo

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An error says which variable or flag it is about, and repeats no token; a token
// in a command line is warned of.
func TestErrorsNameWhereAnInfoCameFrom(t *testing.T) {
	const name = "MINER_API_INFO"
	for value, want := range map[string]string{"": "", "a.b.c:h:1": "a.b.c:h:1"} {
		t.Setenv(name, value)
		if got, err := Env(name); err != nil || got != want {
			t.Errorf("%q: %q, %v", value, got, err)
		}
	}
	t.Setenv(name, real)
	if got, err := Env(name); got != "" || err == nil || !strings.HasPrefix(err.Error(), name+": ") || strings.Contains(err.Error(), real) {
		t.Errorf("%q, %v", got, err)
	}
	var warned bytes.Buffer
	if got, err := Given(&warned, "node", real); got != "" || err == nil || !strings.HasPrefix(err.Error(), "--node: ") ||
		strings.Contains(err.Error(), real) {
		t.Errorf("%q, %v", got, err)
	}
	file := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(file, []byte(real+":h:1"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"", "h:1", "@" + file} {
		if got, err := Given(&warned, "node", s); err != nil || got != s || warned.Len() > 0 {
			t.Errorf("%q: %q, %v, warned %q", s, got, err, warned.String())
		}
	}
	if got, err := Given(&warned, "node", real+":h:1"); err != nil || got != real+":h:1" ||
		!strings.Contains(warned.String(), "the token after --node") || !strings.Contains(warned.String(), "give --node @FILE") ||
		strings.Contains(warned.String(), real) {
		t.Errorf("%v, warned %q", err, warned.String())
	}
}
