package porep

import "io"

// File is one file of a sector. ReadAt and WriteAt may be called from several
// goroutines at once, on ranges that do not overlap, as *os.File allows.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes what was written survive a crash.
	Sync() error
	// Size is the length in bytes.
	Size() (int64, error)
}

// Files is a sector's cache directory: a flat set of named files.
type Files interface {
	// Create makes a file of size bytes, replacing one of that name.
	Create(name string, size int64) (File, error)
	// Open opens an existing file; a missing one gives an error that
	// errors.Is fs.ErrNotExist.
	Open(name string) (File, error)
	// Remove deletes a file; a missing one is no error to this package.
	Remove(name string) error
	// List names all files, in any order.
	List() ([]string, error)
}
