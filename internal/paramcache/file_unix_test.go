//go:build unix

package paramcache

import (
	"errors"
	"os"
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

func TestRecordIsOfThatVeryFile(t *testing.T) {
	dir, path := generated(t)
	if records, err := filepath.Glob(filepath.Join(dir, dirChecked, testName+"*")); err != nil || len(records) != 1 {
		t.Fatal("the generation has recorded the digest of what it made", records, err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := newCache(t, dir, true)
	want, err := c.wanted(testName+extParams, true)
	if err != nil || !c.remembers(f, want) {
		t.Fatal("new parameters are read again", err)
	}
	damage(t, path)
	if id, err := identify(f); err != nil || id.Changed.IsZero() {
		t.Fatal("no time of change, which cannot be forged", err)
	}
	var damaged *DamagedError
	if _, err := c.Params(t.Context(), testName); !errors.As(err, &damaged) {
		t.Fatal("a file changed behind a forged time was used", err)
	}
}

func TestDirectoryOfEverybody(t *testing.T) {
	dir, path := generated(t)
	records := filepath.Join(t.TempDir(), "records")
	open := func() error {
		c, err := New(Config{Dir: dir, Devnet: true, Records: records}, Deps{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Params(t.Context(), testName)
		return err
	}
	if err := errors.Join(os.Chmod(dir, 0o777), os.RemoveAll(filepath.Join(dir, dirChecked))); err != nil { //nolint:gosec // the point
		t.Fatal(err)
	}
	if private(dir) {
		t.Fatal("a directory that everybody writes is taken for the user's own")
	}
	if err := open(); err != nil {
		t.Fatal(err)
	}
	if found, err := os.ReadDir(records); err != nil || len(found) != 1 {
		t.Fatal("the check was not recorded in the user's directory", found, err)
	}
	if !absent(filepath.Join(dir, dirChecked)) {
		t.Fatal("the check was recorded where everybody writes")
	}
	damage(t, path)
	forge(t, newCache(t, dir, true), path)
	var damaged *DamagedError
	if err := open(); !errors.As(err, &damaged) {
		t.Fatal("a record that anybody could write was believed", err)
	}
}
