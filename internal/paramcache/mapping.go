package paramcache

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
)

// source is a file mapped into memory, where the system can: its pages are the
// kernel's, shared between processes and given back under pressure. Reading
// copies out of the mapping.
type source struct {
	name  string
	mem   []byte      // nil where the file is read instead
	file  io.ReaderAt // then
	size  int64       // bytes
	close func() error

	mu     sync.RWMutex // held for reading while a read copies
	closed bool
}

// Size implements groth16.ParamsSource.
func (s *source) Size() int64 { return s.size }

// Close gives the mapping back when the reads under way have ended.
func (s *source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return os.ErrClosed
	}
	s.closed = true
	return s.close()
}

// ReadAt copies. A page that is not there any more, because the file was cut
// short or its disk failed, is an error of this read, not the end of the process.
func (s *source) ReadAt(p []byte, off int64) (n int, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.closed:
		return 0, fmt.Errorf("read %s: %w", s.name, os.ErrClosed)
	case s.mem == nil:
		return s.file.ReadAt(p, off)
	case off < 0:
		return 0, fmt.Errorf("read %s at %d", s.name, off)
	case off >= s.size:
		return 0, io.EOF
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			n, err = 0, s.fault(r, off)
		}
	}()
	if n = copy(p, s.mem[off:]); n < len(p) {
		err = io.EOF
	}
	return n, err
}

// fault explains a fault in the mapping; any other panic goes on.
func (s *source) fault(r any, off int64) error {
	var at interface{ Addr() uintptr }
	if err, ok := r.(error); !ok || !errors.As(err, &at) {
		panic(r)
	}
	return fmt.Errorf("read %s near byte %d: the file was cut short or its disk failed: %w", s.name, off, io.ErrUnexpectedEOF)
}
