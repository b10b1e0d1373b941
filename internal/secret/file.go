package secret

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
)

// ErrExposed says that others can read or replace what only its owner should.
type ErrExposed struct {
	Path   string
	Reason string
	Mend   string // the command that mends it
}

// Error implements error.
func (e *ErrExposed) Error() string {
	return fmt.Sprintf("%s: %s; mend it with: %s", e.Path, e.Reason, e.Mend)
}

// ReadFile reads a file that holds a secret, at most limit bytes of it. Errors are
// *ErrExposed when anybody but its owner may read or change it, or when it belongs
// to another user; a link is followed, and what it leads to is judged.
func ReadFile(path string, limit int64) ([]byte, error) { return read(path, limit, 0) }

// ReadOwn is ReadFile for a file that this process itself wrote: there a link was
// put by somebody else and is *ErrExposed.
func ReadOwn(path string, limit int64) ([]byte, error) {
	if target, err := os.Readlink(path); err == nil {
		return nil, linked(path, target)
	}
	return read(path, limit, noFollow)
}

func linked(path, target string) error {
	return &ErrExposed{
		Path:   path,
		Reason: "it is a link to " + target + ", and a secret is kept in the place itself",
		Mend:   "rm " + quoted(path) + " (and, where its content is to stay, copy the file there with mode 600)",
	}
}

func read(path string, limit int64, flags int) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|nonBlock|flags, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	if err := judge(path, st, os.Geteuid()); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return b, nil
}

// CheckFile judges a file that was found to hold a secret, of which st is the
// state: *ErrExposed as from ReadFile.
func CheckFile(path string, st fs.FileInfo) error { return judge(path, st, os.Geteuid()) }

func judge(path string, st fs.FileInfo, euid int) error {
	if mode := st.Mode().Perm(); mode&0o077 != 0 {
		return &ErrExposed{
			Path:   path,
			Reason: fmt.Sprintf("it has mode %04o and holds a secret, so others on this host may know it", mode),
			Mend:   "chmod 600 " + quoted(path) + " (and replace the secret: others may have read it)",
		}
	}
	if uid, ok := owner(st); ok && uid != euid && euid != 0 {
		return &ErrExposed{
			Path:   path,
			Reason: fmt.Sprintf("it belongs to user %d, and this process runs as user %d", uid, euid),
			Mend:   fmt.Sprintf("chown %d %s", euid, quoted(path)),
		}
	}
	return nil
}

// CheckDir refuses a directory in which anybody may put and replace files, or
// that belongs to another user: *ErrExposed.
func CheckDir(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	return judgeDir(path, st, os.Geteuid())
}

func judgeDir(path string, st fs.FileInfo, euid int) error {
	if mode := st.Mode(); mode.Perm()&0o002 != 0 && mode&fs.ModeSticky == 0 {
		return &ErrExposed{
			Path:   path,
			Reason: fmt.Sprintf("it has mode %04o, so everybody on this host can replace the files in it", mode.Perm()),
			Mend:   "chmod o-w " + quoted(path),
		}
	}
	if uid, ok := owner(st); ok && uid != euid && euid != 0 && uid != 0 {
		return &ErrExposed{
			Path:   path,
			Reason: fmt.Sprintf("it belongs to user %d, and this process runs as user %d", uid, euid),
			Mend:   fmt.Sprintf("chown %d %s", euid, quoted(path)),
		}
	}
	return nil
}

// Foreign tells whether a file or directory belongs to another user than this
// process runs as, and to whom.
func Foreign(path string) (uid int, foreign bool) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	uid, ok := owner(st)
	return uid, ok && uid != os.Geteuid()
}

// quoted is a path as a shell takes it.
func quoted(path string) string {
	if path != "" && strings.Trim(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./+,:@%") == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

var (
	token    = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}`)
	userInfo = regexp.MustCompile(`://[^/\s:@"']+:[^/\s@"']+@`)
)

// In tells whether a text holds a token, or a URL with a password.
func In(text []byte) bool { return token.Match(text) || userInfo.Match(text) }
