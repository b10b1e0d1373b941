package repo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Expand makes a directory from a command line or environment absolute and
// resolves a leading ~/. An empty name stays empty: no repo is named.
func Expand(dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	if rest, ok := strings.CutPrefix(dir, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("resolve %s: %w", dir, err)
		}
		dir = filepath.Join(home, rest)
	}
	return filepath.Abs(dir)
}
