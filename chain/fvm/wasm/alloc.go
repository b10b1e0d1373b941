package wasm

import (
	"sync"

	"github.com/tetratelabs/wazero/experimental"
)

// MaxMemory is the largest linear memory of one instance, in bytes.
const MaxMemory = 512 << 20

const (
	startCap  = 1280 << 10 // 1.25 MiB: all official actors fit
	pooledMax = 4 << 20
	poolSize  = 64
)

// Pool is the portable allocator: reused Go slices. It is safe for concurrent
// use.
type Pool struct {
	mu   sync.Mutex
	free [][]byte
}

// Allocate returns a memory that can grow to limit or MaxMemory bytes. It
// implements experimental.MemoryAllocator.
func (p *Pool) Allocate(initial, limit uint64) experimental.LinearMemory {
	p.mu.Lock()
	defer p.mu.Unlock()
	var buf []byte
	if n := len(p.free); n > 0 {
		buf, p.free = p.free[n-1], p.free[:n-1]
	} else {
		buf = make([]byte, 0, max(startCap, initial))
	}
	return &slice{pool: p, buf: buf, limit: min(limit, MaxMemory)}
}

type slice struct {
	pool  *Pool
	buf   []byte
	limit uint64
}

// Reallocate grows the memory; nil tells wazero that it may not.
func (s *slice) Reallocate(size uint64) []byte {
	if size > s.limit {
		return nil
	}
	if size <= uint64(cap(s.buf)) {
		s.buf = s.buf[:size]
		return s.buf
	}
	grown := make([]byte, size, min(s.limit, size+size/4))
	copy(grown, s.buf)
	s.buf = grown
	return grown
}

// Free clears the memory and keeps it for the next instance.
func (s *slice) Free() {
	if s.buf == nil || cap(s.buf) > pooledMax {
		s.buf = nil
		return
	}
	clear(s.buf)
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	if len(s.pool.free) < poolSize {
		s.pool.free = append(s.pool.free, s.buf[:0])
	}
	s.buf = nil
}
