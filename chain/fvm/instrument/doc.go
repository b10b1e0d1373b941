// Package instrument rewrites an actor's WebAssembly module so that it counts
// gas while it runs, to the last unit as the reference VM does: every basic
// block begins by charging its instructions to a counter global that the host
// reads and refills.
//
// The prices assume the stack limiter of the reference VM, whose instructions
// are charged without being inserted: a call of a defined function costs as
// its wrapped form, and exports and table entries go through charged thunks.
// The limiter's own counter is not part of it; deep recursion ends at the
// engine's stack limit instead.
//
// It refuses modules with features that actors do not use: imports other than
// functions, more than one table, SIMD, threads, reference types and passive or
// expression element segments.
//
// Rules: filecoin-project/fvm-wasm-instrument 0.4 src/gas_metering and
// src/stack_limiter; prices: ref-fvm fvm/src/gas/price_list.rs.
package instrument

// Version names the rules; caches of metered modules use it.
const Version = "1"
