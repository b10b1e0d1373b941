//go:build unix

package paramcache

import (
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPipeInPlaceOfAFile would wait for ever for somebody to write into it.
func TestPipeInPlaceOfAFile(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(dir, testName+extParams), 0o600); err != nil {
		t.Fatal(err)
	}
	var damaged *DamagedError
	if _, err := newCache(t, dir, false).Params(t.Context(), testName); !errors.As(err, &damaged) {
		t.Fatal(err)
	}
}
