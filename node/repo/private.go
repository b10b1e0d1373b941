package repo

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"quarry/internal/secret"
)

// maxScan bounds how many files of a repo are looked through for secrets, and
// maxScanned how much of each, bytes.
const (
	maxScan    = 100
	maxScanned = 1 << 20
)

// checkPrivate refuses a repo whose secrets others could replace, and a list of
// storage paths with a secret that others can read: *secret.ErrExposed.
func checkPrivate(dir string) error {
	for _, d := range []string{dir, filepath.Join(dir, dirKeystore), filepath.Join(dir, dirDatastore)} {
		if err := secret.CheckDir(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("open repo: %w", err)
		}
	}
	path := filepath.Join(dir, FileStorage)
	st, holds := holdsSecret(path)
	if !holds {
		return nil
	}
	if err := secret.CheckFile(path, st); err != nil {
		return fmt.Errorf("open repo: %w", err)
	}
	return nil
}

// holdsSecret looks into a regular file.
func holdsSecret(path string) (fs.FileInfo, bool) {
	st, err := os.Stat(path)
	if err != nil || !st.Mode().IsRegular() {
		return nil, false
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, false
	}
	defer func() { _ = f.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(f, maxScanned))
	return st, err == nil && secret.In(b)
}

// Warnings names what in the repo others on this host can see or change although
// nothing needs that, each with the command that mends it. Nothing is changed:
// the operator may have a reason.
func (r *Repo) Warnings() []string { return warnings(r.dir, os.Geteuid()) }

func warnings(dir string, euid int) (out []string) {
	if st, err := os.Stat(dir); err == nil && st.Mode().Perm()&0o020 != 0 {
		out = append(out, fmt.Sprintf("its group can replace the files in %[1]s (mode %04[2]o); mend it with: chmod g-w %[1]s",
			dir, st.Mode().Perm()))
	}
	if uid, foreign := secret.Foreign(dir); foreign {
		out = append(out, fmt.Sprintf("%[1]s belongs to user %[2]d, and this process runs as user %[3]d; its new files will "+
			"belong to the latter "+
			"(run it as that user, or chown -R %[3]d %[1]s)", dir, uid, euid))
	}
	for _, name := range []string{dirKeystore, dirDatastore} {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); err == nil && st.Mode().Perm()&0o077 != 0 {
			out = append(out, fmt.Sprintf("others can look into %[1]s (mode %04[2]o), where secrets are kept; mend it with: "+
				"chmod 700 %[1]s",
				path, st.Mode().Perm()))
		}
	}
	return append(out, fileWarnings(dir)...)
}

// fileWarnings looks at the files beside the ones that are refused: copies of a
// config, for example, and links.
func fileWarnings(dir string) (out []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for i, e := range entries {
		if i == maxScan {
			break
		}
		path := filepath.Join(dir, e.Name())
		if target, err := os.Readlink(path); err == nil && !e.IsDir() {
			out = append(out, fmt.Sprintf("%s is a link to %s; who can change that decides what this process reads", path, target))
		}
		if st, holds := holdsSecret(path); holds && st.Mode().Perm()&0o077 != 0 {
			out = append(out, fmt.Sprintf("others can read the secret in %[1]s (mode %04[2]o); mend it with: chmod 600 %[1]s "+
				"(and replace the secret)",
				path, st.Mode().Perm()))
		}
	}
	return out
}
