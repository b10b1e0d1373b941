package wasm

import "github.com/tetratelabs/wazero/experimental"

// NewAllocator returns the allocator for this platform.
func NewAllocator() experimental.MemoryAllocator { return &Pool{} }
