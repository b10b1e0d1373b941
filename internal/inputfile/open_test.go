//go:build unix

package inputfile

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// A name that leads to anything but a regular file is refused by what it is, at
// once: nobody writes into the FIFO here.
func TestOnlyRegularFiles(t *testing.T) {
	dir := t.TempDir()
	file, fifo, sock := filepath.Join(dir, "file"), filepath.Join(dir, "fifo"), filepath.Join(dir, "socket")
	if err := os.WriteFile(file, []byte("twelve bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, to := range map[string]string{"link": file, "link-to-fifo": fifo, "link-to-dir": dir} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	refused := map[string]string{
		fifo:                               "is a FIFO, not a regular file; copy what it gives into a file",
		sock:                               "is a socket, not",
		dir:                                "is a directory, not a regular file; name a file in it",
		filepath.Join(dir, "link-to-fifo"): "is a FIFO, not",
		filepath.Join(dir, "link-to-dir"):  "is a directory, not",
		"/dev/null":                        "is a character device, not",
	}
	if runtime.GOOS == "linux" {
		refused["/proc/self/status"] = "is a file of /proc, which the kernel makes up, not"
		refused["/proc/cpuinfo"] = "is a file of /proc"
	}
	for path, want := range refused {
		_, _, err := Open(path)
		var no *Refused
		if !errors.As(err, &no) || no.Path != path || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", path, err, want)
		}
		if _, err := Read(path, 1<<20); !errors.As(err, &no) {
			t.Errorf("%s is read: %v", path, err)
		}
	}
	for _, path := range []string{file, filepath.Join(dir, "link")} {
		f, st, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err != nil || string(b) != "twelve bytes" || st.Size() != 12 {
			t.Errorf("%s: %q of %d, %v", path, b, st.Size(), err)
		}
		f.Close()
	}
	if _, _, err := Open(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
}

func TestReadHasALimit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("twelve bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := Read(file, 12); err != nil || string(b) != "twelve bytes" {
		t.Errorf("at the limit: %q, %v", b, err)
	}
	var large *TooLarge
	if b, err := Read(file, 11); !errors.As(err, &large) || large.Max != 11 || b != nil ||
		!strings.Contains(err.Error(), "more than 11 bytes") {
		t.Errorf("above the limit: %q, %v", b, err)
	}
}
