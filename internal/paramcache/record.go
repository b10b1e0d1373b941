package paramcache

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"quarry/internal/durable"
)

// record is what a generation made, or what a whole-file check found. That of a
// check stands for it as long as the file is the same.
type record struct {
	Digest string // first 16 bytes of BLAKE2b-512, hex
	identity
}

// identity tells a file from another in its place, and from itself after a
// change. Size and times of modification may be forged by whoever owns the file;
// Changed and Inode may not, and are zero where the system has none.
type identity struct {
	Size    int64     // bytes
	ModTime time.Time // last write
	Changed time.Time // last write or change of metadata, also of ModTime
	Inode   uint64
}

func (i identity) same(j identity) bool {
	return i.Size == j.Size && i.ModTime.Equal(j.ModTime) && i.Changed.Equal(j.Changed) && i.Inode == j.Inode
}

func readRecord(path string) (record, error) {
	f, err := openRegular(path)
	if err != nil {
		return record{}, err
	}
	defer f.Close()
	var r record
	if err := json.NewDecoder(io.LimitReader(f, 4096)).Decode(&r); err != nil {
		return record{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func writeRecord(path string, r record) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return durable.WriteFile(path, raw, 0o644)
}

// madePath is where a generation says what it made.
func (c *Cache) madePath(name string) string {
	return filepath.Join(c.dir, dirDevnet, name+".json")
}

// made notes what a generated file is, before it is put in place.
func (c *Cache) made(name, digest string, size int64) error {
	return writeRecord(c.madePath(name), record{Digest: digest, identity: identity{Size: size, ModTime: time.Now()}})
}

// places are the directories for records of checks, best first: beside the
// parameters, if nobody but this user can write there, and the user's cache. In
// a directory of everybody, anybody could say that a file was checked.
func (c *Cache) places() (dirs []string) {
	if own := filepath.Join(c.dir, dirChecked); private(c.dir) && (private(own) || absent(own)) {
		dirs = append(dirs, own)
	}
	if c.cfg.Records != "" {
		dirs = append(dirs, c.cfg.Records)
	}
	return dirs
}

func absent(path string) bool {
	_, err := os.Lstat(path)
	return os.IsNotExist(err)
}

// recordName is that of the record of a file; files of one name in several
// directories have their own.
func recordName(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	sum := sha256.Sum256([]byte(path))
	return filepath.Base(path) + "." + hex.EncodeToString(sum[:8]) + ".json"
}

// remembers tells whether this very file was checked before.
func (c *Cache) remembers(f *os.File, want expected) bool {
	now, err := identify(f)
	if err != nil || want.sized(f.Name(), now.Size) != nil {
		return false
	}
	for _, dir := range c.places() {
		r, err := readRecord(filepath.Join(dir, recordName(f.Name())))
		if err == nil && r.Digest == want.digest && r.same(now) {
			return true
		}
	}
	return false
}

// remember keeps the result of a check. That it cannot is no reason not to prove:
// the file is then read again by the next process.
func (c *Cache) remember(f *os.File, digest string, id identity) {
	var last error
	for _, dir := range c.places() {
		if last = os.MkdirAll(dir, 0o755); last == nil {
			last = writeRecord(filepath.Join(dir, recordName(f.Name())), record{digest, id})
		}
		if last == nil {
			return
		}
	}
	c.log.Warn("the check of a parameter file cannot be recorded and will be done again at the next start", "file", f.Name(),
		"bytes", id.Size, "err", last)
}
