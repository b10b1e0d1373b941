package paths

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"quarry/api"
)

// Space is what a file system says of itself, in bytes.
type Space struct {
	Capacity  int64
	Available int64
	ReadOnly  bool
}

// Disk is what a Local asks of the directories it looks after. Every call may
// hang. Tests put in disks that do.
type Disk interface {
	// Meta reads sectorstore.json; unknown are keys in it that mean nothing here.
	Meta(dir string) (m api.PathMeta, unknown []string, err error)
	// Prepare makes the directories of the kinds of file that are not there.
	Prepare(dir string) error
	Space(dir string) (Space, error)
	// Used sums the bytes on disk below dir.
	Used(dir string) int64
	// Probe writes, syncs and removes a small file.
	Probe(dir string) error
	// List names what is in the directory of one kind of file; none where that
	// directory is not there.
	List(dir string, t api.FileType) ([]string, error)
	// Exists tells whether a file or directory is there.
	Exists(name string) (bool, error)
}

// OS is the disk of this machine.
type OS struct{}

var _ Disk = OS{}

// Meta implements Disk.
func (OS) Meta(dir string) (api.PathMeta, []string, error) { return readMeta(dir) }

// Prepare implements Disk.
func (OS) Prepare(dir string) error { return makeTypeDirs(dir) }

// Space implements Disk.
func (OS) Space(dir string) (Space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return Space{}, fmt.Errorf("stat storage path %s: %w", dir, err)
	}
	return Space{
		Capacity:  int64(s.Blocks) * int64(s.Bsize), //nolint:gosec // file systems are below 2^63 bytes
		Available: int64(s.Bavail) * int64(s.Bsize), //nolint:gosec // as above
		ReadOnly:  s.Flags&unix.ST_RDONLY != 0,
	}, nil
}

// Used implements Disk. Files that vanish meanwhile or cannot be read do not
// count.
func (OS) Used(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && unix.Lstat(path, &st) == nil {
			sum += st.Blocks * 512
		}
		return nil
	})
	return sum
}

// probeFile is written to find out whether a path can be. Its name is no sector's
// and lies beside the directories of the kinds.
const probeFile = ".write-probe"

// Probe implements Disk.
func (OS) Probe(dir string) error {
	name := filepath.Join(dir, probeFile)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644) //nolint:gosec // as all files of the path
	if err != nil {
		return err
	}
	_, err = f.WriteString("is this path writable?\n")
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), os.Remove(name))
}

// List implements Disk.
func (OS) List(dir string, t api.FileType) ([]string, error) {
	f, err := os.Open(filepath.Join(dir, t.String()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	return f.Readdirnames(-1)
}

// Exists implements Disk.
func (OS) Exists(name string) (bool, error) {
	_, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
