package inputfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Refused says that a name leads to something that is not read as a file.
type Refused struct {
	Path string
	What string // that is there, with its article
	Do   string // instead
}

func (e *Refused) Error() string {
	return fmt.Sprintf("%s is %s, not a regular file; %s", e.Path, e.What, e.Do)
}

// TooLarge says that a file has more than it may.
type TooLarge struct {
	Path string
	Max  int64 // bytes
}

func (e *TooLarge) Error() string {
	return fmt.Sprintf("%s has more than %d bytes, which is not what is read here; name another file", e.Path, e.Max)
}

const copyFirst = "copy what it gives into a file and name that"

// Check refuses a name that does not lead, through links, to a regular file on
// a disk. It opens nothing. Errors: [*Refused], those of [os.Stat].
func Check(path string) (fs.FileInfo, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	return st, check(path, st)
}

func check(path string, st fs.FileInfo) error {
	what := ""
	switch mode := st.Mode(); {
	case mode.IsRegular():
		if fake := pseudo(path); fake != "" {
			return &Refused{Path: path, What: "a file of " + fake + ", which the kernel makes up", Do: copyFirst}
		}
		return nil
	case mode.IsDir():
		return &Refused{Path: path, What: "a directory", Do: "name a file in it"}
	case mode&fs.ModeNamedPipe != 0:
		what = "a FIFO"
	case mode&fs.ModeSocket != 0:
		what = "a socket"
	case mode&fs.ModeCharDevice != 0:
		what = "a character device"
	case mode&fs.ModeDevice != 0:
		what = "a block device"
	default:
		what = "something else"
	}
	return &Refused{Path: path, What: what, Do: copyFirst}
}

// Open opens a regular file for reading; the caller closes it. Errors:
// [*Refused], those of [os.Open].
func Open(path string) (*os.File, fs.FileInfo, error) {
	if _, err := Check(path); err != nil {
		return nil, nil, err
	}
	f, err := openNow(path)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err == nil {
		err = check(path, st) // another one may be there by now
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, st, nil
}

// Read reads a regular file of at most max bytes whole. Errors: [*TooLarge] and
// those of [Open].
func Read(path string, max int64) (data []byte, err error) {
	f, _, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err = io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(data)) > max {
		return nil, &TooLarge{Path: path, Max: max}
	}
	return data, nil
}
