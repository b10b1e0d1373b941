package repo

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quarry/internal/secret"
)

const shownToken = "eyJhbGciOi.eyJBbGxvdy.c2lnbmF0dXJl"

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func closed(t *testing.T) string {
	t.Helper()
	r := fresh(t)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return r.Dir()
}

// A repo whose secrets others can read or replace is not opened; the error has the
// command, and after that command it opens. The modes are not changed silently.
func TestExposedReposAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		mode os.FileMode
		good os.FileMode
		mend string
	}{
		"token":         {FileToken, 0o644, 0o600, "chmod 600 "},
		"token group":   {FileToken, 0o640, 0o600, "chmod 600 "},
		"directory":     {"", 0o777, 0o775, "chmod o-w "},
		"keystore":      {dirKeystore, 0o703, 0o700, "chmod o-w "},
		"datastore":     {dirDatastore, 0o777, 0o700, "chmod o-w "},
		"storage paths": {FileStorage, 0o644, 0o600, "chmod 600 "},
	} {
		t.Run(name, func(t *testing.T) {
			dir := closed(t)
			path := filepath.Join(dir, c.file)
			if c.file == FileStorage {
				if err := os.WriteFile(path, []byte(`{"StoragePaths":[{"Path":"/x","URL":"http://u:p@h/"}]}`), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			chmod(t, path, c.mode)
			_, err := Open(dir)
			var exposed *secret.ErrExposed
			if !errors.As(err, &exposed) || exposed.Path != path || !strings.Contains(err.Error(), c.mend+path) {
				t.Fatalf("%v", err)
			}
			if st, err := os.Stat(path); err != nil || st.Mode().Perm() != c.mode {
				t.Fatalf("%v, %v", st.Mode(), err)
			}
			chmod(t, path, c.good)
			r := reopen(t, dir)
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A list of storage paths without a secret is nobody's business to hide.
func TestStoragePathsMayBeRead(t *testing.T) {
	dir := closed(t)
	chmod(t, filepath.Join(dir, FileStorage), 0o644)
	r := reopen(t, dir)
	if w := r.Warnings(); len(w) != 0 {
		t.Errorf("%q", w)
	}
}

// Commands refuse the token file as the node does, and links put in its place.
func TestCommandsRefuseAnExposedToken(t *testing.T) {
	r := fresh(t)
	if err := r.WriteAPI("/ip4/127.0.0.1/tcp/1/http"); err != nil {
		t.Fatal(err)
	}
	if _, err := APIInfo(r.Dir()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.Dir(), FileToken)
	chmod(t, path, 0o644)
	var exposed *secret.ErrExposed
	if _, err := APIInfo(r.Dir()); !errors.As(err, &exposed) {
		t.Errorf("%v", err)
	}
	chmod(t, path, 0o600)
	if err := errors.Join(os.Rename(path, path+"-elsewhere"), os.Symlink(path+"-elsewhere", path)); err != nil {
		t.Fatal(err)
	}
	if _, err := APIInfo(r.Dir()); !errors.As(err, &exposed) || !strings.Contains(err.Error(), "is a link to ") {
		t.Errorf("%v", err)
	}
}

// What earlier releases or operators left open is named with the command, and left
// as it is.
func TestOpenThingsInARepoAreNamed(t *testing.T) {
	dir := closed(t)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	chmod(t, write("config.toml.old", `SealerApiInfo = "`+shownToken+`:h:1"`), 0o644)
	chmod(t, write("notes", "nothing"), 0o644)
	write("hidden", shownToken)
	chmod(t, dir, 0o770)
	chmod(t, filepath.Join(dir, dirKeystore), 0o750)
	chmod(t, filepath.Join(dir, dirDatastore), 0o701)
	if err := os.Symlink("config.toml.old", filepath.Join(dir, FileConfig)); err != nil {
		t.Fatal(err)
	}
	r := reopen(t, dir)
	got := r.Warnings()
	want := []string{
		"chmod g-w " + dir,
		"chmod 700 " + filepath.Join(dir, dirKeystore),
		"chmod 700 " + filepath.Join(dir, dirDatastore),
		filepath.Join(dir, FileConfig) + " is a link to config.toml.old",
		"chmod 600 " + filepath.Join(dir, FileConfig),
		"chmod 600 " + filepath.Join(dir, "config.toml.old"),
	}
	if len(got) != len(want) {
		t.Errorf("%d: %q", len(got), got)
	}
	for i, w := range want {
		if i >= len(got) || !strings.Contains(got[i], w) || strings.Contains(got[i], "eyJ") {
			t.Errorf("%d: want %s in %q", i, w, got)
		}
	}
	if st, err := os.Stat(filepath.Join(dir, "config.toml.old")); err != nil || st.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}
