//go:build !unix

package paramcache

import "os"

const openNonblock = 0

func identify(f *os.File) (identity, error) {
	st, err := f.Stat()
	if err != nil {
		return identity{}, err
	}
	return identity{Size: st.Size(), ModTime: st.ModTime()}, nil
}

// private tells whether a directory is there; who may write into it is not
// looked at on this system.
func private(dir string) bool {
	st, err := os.Stat(dir)
	return err == nil && st.IsDir()
}

// mapSource reads the file where this package does not map.
func mapSource(f *os.File, size int64) (*source, error) {
	return &source{name: f.Name(), file: f, size: size, close: f.Close}, nil
}
