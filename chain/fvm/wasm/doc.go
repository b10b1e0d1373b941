// Package wasm provides the linear memory of actor instances. Every invocation
// grows its memory once; wazero's default allocator copies it then, which costs
// more than the actor itself. The pools here hand out buffers with room to grow.
//
// It refuses memories above 512 MiB per instance (ref-fvm limit).
package wasm
