// Package index knows which storage paths exist, which process serves them,
// which sector files are on them, and who holds which sector's files.
//
// It lives in the memory of the private node, as in Lotus
// (storage/paths/index.go): every process tells it everything at attach and
// again when it finds that the index has forgotten it. Unlike there, locks are
// leases with an identity: they hold until released or until they are not
// renewed in time, over any transport.
//
// The package touches no disk and starts no goroutine; expired leases and
// silent paths are noticed when somebody asks.
package index
