package apiinfo

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quarry/internal/secret"
)

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// An info may stand in a file that only its owner reads, or be that of a process
// on this host.
func TestInfosFromFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "peer")
	write(t, file, "MINER_API_INFO=a.b.c:/ip4/1.2.3.4/tcp/5\n", 0o600)
	if i, err := Load(" @" + file); err != nil || i.Token.Reveal() != "a.b.c" || i.Base() != "http://1.2.3.4:5" {
		t.Errorf("%s, %v", i, err)
	}
	if i, err := Load("a.b.c:h:1"); err != nil || i.Base() != "http://h:1" {
		t.Errorf("%s, %v", i, err)
	}
	if !FromFile(" @x") || FromFile("a.b.c:h:1") {
		t.Error("a file is told from an info by its @")
	}
	write(t, filepath.Join(dir, "token"), "d.e.f\n", 0o600)
	if _, err := Load("@" + dir); err == nil || !strings.Contains(err.Error(), "no process is running on repo "+dir) {
		t.Errorf("%v", err)
	}
	write(t, filepath.Join(dir, "api"), "/ip4/127.0.0.1/tcp/7/http\n", 0o644)
	if i, err := Load("@" + dir); err != nil || i.Token.Reveal() != "d.e.f" || i.Base() != "http://127.0.0.1:7" {
		t.Errorf("%s, %v", i, err)
	}
	var exposed *secret.ErrExposed
	for _, mode := range []os.FileMode{0o604, 0o640, 0o602} {
		write(t, file, "a.b.c:h:1", mode)
		if _, err := Load("@" + file); !errors.As(err, &exposed) || !strings.Contains(err.Error(), "chmod 600 "+file) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	write(t, filepath.Join(dir, "token"), "d.e.f\n", 0o644)
	if _, err := Load("@" + dir); !errors.As(err, &exposed) {
		t.Errorf("%v", err)
	}
}

func TestFilesThatHoldNoInfo(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "peer")
	for text, want := range map[string]string{"": "it is empty", real: "a token without an address", "@" + file: "no colon",
		strings.Repeat("a", MaxBytes+1): "more than 16384 bytes"} {
		write(t, file, text, 0o600)
		if _, err := Load("@" + file); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) ||
			strings.Contains(err.Error(), real) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	for in, want := range map[string]string{"@": "no file is named", "@" + dir + "/none": "no such file", "@" + real +
		":h:1": "no such file", "@a\x00" + real: "invalid argument"} {
		if _, err := Load(in); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), real) {
			t.Errorf("%q: %v", in, err)
		}
	}
}
