package secret

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func file(t *testing.T, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "it's")
	if err := os.WriteFile(path, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// A file that anybody but its owner may read or write is refused, with the
// command that mends it; nothing about it is changed.
func TestFilesOthersCanReadAreRefused(t *testing.T) {
	for _, read := range []func(string, int64) ([]byte, error){ReadFile, ReadOwn} {
		for mode, good := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o700: true, 0o640: false, 0o604: false,
			0o620: false, 0o601: false, 0o644: false} {
			path := file(t, mode)
			b, err := read(path, 7)
			var exposed *ErrExposed
			switch {
			case good && (err != nil || string(b) != "hunter2"):
				t.Errorf("mode %o: %q, %v", mode, b, err)
			case !good && (!errors.As(err, &exposed) || exposed.Path != path || b != nil):
				t.Errorf("mode %o: %q, %v", mode, b, err)
			case !good && !strings.Contains(err.Error(), `chmod 600 '`+strings.ReplaceAll(path, "'", `'\''`)+"'"):
				t.Errorf("mode %o: %v", mode, err)
			}
			if st, err := os.Stat(path); err != nil || st.Mode().Perm() != mode {
				t.Errorf("mode %o became %v, %v", mode, st.Mode(), err)
			}
		}
	}
}

func TestReadingSecretsHasLimits(t *testing.T) {
	path := file(t, 0o600)
	if _, err := ReadFile(path, 6); err == nil || !strings.Contains(err.Error(), "more than 6 bytes") ||
		strings.Contains(err.Error(), "hunter") {
		t.Errorf("%v", err)
	}
	if _, err := ReadFile(path+"x", 7); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := ReadFile(filepath.Dir(path), 7); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("%v", err)
	}
	pipe := path + "-pipe"
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := ReadFile(pipe, 7); done <- err }()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "no regular file") {
			t.Errorf("%v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("waits for a pipe")
	}
}

// A link is followed where an operator put it, and refused where only we write.
func TestLinksToSecrets(t *testing.T) {
	path := file(t, 0o600)
	link := path + "-link"
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadFile(link, 7); err != nil || string(b) != "hunter2" {
		t.Errorf("%q, %v", b, err)
	}
	var exposed *ErrExposed
	if _, err := ReadOwn(link, 7); !errors.As(err, &exposed) || !strings.Contains(err.Error(), "is a link to "+path) {
		t.Errorf("%v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(link, 7); !errors.As(err, &exposed) {
		t.Errorf("a link to an open file: %v", err)
	}
}

// Directories that everybody can write to are refused, unless only the owner of a
// file can take it away there; so are those of other users.
func TestDirectoriesOthersCanWrite(t *testing.T) {
	dir := t.TempDir()
	for mode, good := range map[os.FileMode]bool{0o700: true, 0o755: true, 0o775: true, 0o777 | os.ModeSticky: true, 0o702: false,
		0o777: false} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		var exposed *ErrExposed
		if err := CheckDir(dir); good && err != nil || !good &&
			(!errors.As(err, &exposed) || !strings.Contains(err.Error(), "chmod o-w "+dir)) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if err := CheckDir(dir + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// Who owns a file matters to everybody but root, who may read it anyway.
func TestFilesOfOtherUsers(t *testing.T) {
	path := file(t, 0o600)
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	dst, err := os.Stat(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	me, ok := owner(st)
	if !ok || me != os.Geteuid() {
		t.Fatalf("owner %d, %v", me, ok)
	}
	const somebody = 4711
	var exposed *ErrExposed
	if err := judge(path, st, somebody); !errors.As(err, &exposed) || !strings.Contains(err.Error(), "runs as user 4711") ||
		!strings.Contains(err.Error(), "chown 4711 ") {
		t.Errorf("%v", err)
	}
	if err := judge(path, st, 0); err != nil {
		t.Errorf("root: %v", err)
	}
	if err := judgeDir("d", dst, 0); err != nil {
		t.Errorf("root: %v", err)
	}
	err = judgeDir("d", dst, somebody)
	if fromRoot := me == 0; fromRoot != (err == nil) { // a directory of root's is as safe as one's own
		t.Errorf("owner %d: %v", me, err)
	}
	if uid, foreign := Foreign(path); foreign || uid != me {
		t.Errorf("%d, %v", uid, foreign)
	}
	if _, foreign := Foreign(path + "x"); foreign {
		t.Error("what does not exist belongs to nobody")
	}
}

func TestSecretsInTexts(t *testing.T) {
	const jwt = "eyJhbGciOi.eyJBbGxvdy.c2lnbmF0dXJl"
	for text, want := range map[string]bool{"": false, "a.b.c": false, jwt: true, "SealerApiInfo = \"" + jwt + ":h:1\"": true,
		"eyJ is a word. So. Is it.": false,
		"http://user:pass@host/":    true, "http://host:80/a@b": false, "redis://:pw@h": false, "x://u:p@h": true} {
		if got := In([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
