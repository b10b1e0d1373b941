package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quarry/node/repo"
)

// The line with the admin's token goes to a terminal or a pipe; a file, which
// others may read, gets the name of the repo instead, which our commands take too.
func TestLogsDoNotKeepTheToken(t *testing.T) {
	dir := t.TempDir()
	home := filepath.Join(dir, "repo")
	if err := repo.Init(home, repo.KindDevnet); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(home, "token"), []byte("a.b.c"), 0o600),
		os.WriteFile(filepath.Join(home, "api"), []byte("/ip4/127.0.0.1/tcp/1/http"), 0o600)); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _, _ = file.Close(), r.Close(), w.Close() }()
	for out, want := range map[*os.File]string{file: "FULLNODE_API_INFO=@" + home + "\n",
		w: "FULLNODE_API_INFO=a.b.c:/ip4/127.0.0.1/tcp/1/http\n"} {
		var b bytes.Buffer
		if err := announce(&b, out, home); err != nil || b.String() != want {
			t.Errorf("%s: %q, %v", out.Name(), b.String(), err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := announce(new(bytes.Buffer), file, home); err == nil || !strings.Contains(err.Error(), "standard output") {
		t.Errorf("%v", err)
	}
}
