package apiinfo

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"quarry/api"
	"quarry/internal/secret"
)

// Names of the files in which a process tells others on its host how to reach it.
const (
	fileToken = "token"
	fileAPI   = "api"
)

// FromFile tells whether s names a file instead of holding the API info itself.
func FromFile(s string) bool { return strings.HasPrefix(strings.TrimSpace(s), "@") }

// Load is Parse, also of @PATH: a file that holds the API info and that nobody
// else may read, or the repo of a running process on this host. So no token needs
// to stand in a command line or a config.
func Load(s string) (Info, error) {
	path, ok := strings.CutPrefix(strings.TrimSpace(s), "@")
	if !ok {
		return Parse(s)
	}
	text, err := read(path)
	if err != nil {
		return Info{}, err
	}
	info, err := Parse(text)
	if err != nil {
		return Info{}, fmt.Errorf("%s: %w", path, err)
	}
	return info, nil
}

func read(path string) (string, error) {
	if path == "" {
		return "", bad("no file is named after @")
	}
	st, err := os.Stat(path)
	if err != nil {
		return "", &api.ErrInvalid{
			What:   "API info",
			Reason: "the file after @ cannot be read: " + reason(err),
			Hint:   "name a file that holds TOKEN:ADDRESS",
		}
	}
	if st.IsDir() {
		return repo(path)
	}
	b, err := secret.ReadFile(path, MaxBytes)
	return string(b), err
}

// repo reads the files that a running process keeps in its repo.
func repo(dir string) (string, error) {
	addr, err := os.ReadFile(filepath.Join(dir, fileAPI))
	if errors.Is(err, fs.ErrNotExist) {
		return "", &api.ErrInvalid{
			What:   "API info",
			Reason: "no process is running on repo " + dir + " (it has no file api)",
			Hint:   "start it first",
		}
	}
	if err != nil {
		return "", fmt.Errorf("API info: %w", err)
	}
	token, err := secret.ReadOwn(filepath.Join(dir, fileToken), MaxBytes)
	if err != nil {
		return "", fmt.Errorf("API info: %w", err)
	}
	return Format(secret.New(strings.TrimSpace(string(token))), strings.TrimSpace(string(addr))), nil
}

// reason is what the system says, without the path: a token that was put after
// the @ by mistake is not repeated.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return "it is no path"
}

// Env is the API info in an environment variable, empty where it is not set. An
// error names the variable.
func Env(name string) (string, error) {
	s := os.Getenv(name)
	if s == "" {
		return "", nil
	}
	if _, err := Load(s); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// Given is the API info in a flag, empty where it was not given. A token in a
// command line is seen by everybody on the host, for as long as the process runs:
// warn is told so, with what to do instead.
func Given(warn io.Writer, flag, s string) (string, error) {
	if s == "" {
		return "", nil
	}
	info, err := Load(s)
	if err != nil {
		return "", fmt.Errorf("--%s: %w", flag, err)
	}
	if !FromFile(s) && !info.Token.Empty() {
		fmt.Fprintf(warn, "warning: everybody on this host can see the token after --%[1]s (ps does); "+
			"write it to a file with mode 600 and give --%[1]s @FILE\n", flag)
	}
	return s, nil
}
