// Package index knows which storage paths exist, which process serves them,
// which sector files are on them, and who holds which sector's files.
//
// It lives in the memory of the private node, as in Lotus
// (storage/paths/index.go): every process tells it everything at attach and
// again when it finds that the index has forgotten it. Unlike there, locks are
// leases with an identity: they hold until released or until they are not
// renewed in time, over any transport.
//
// What a process attached belongs to its token: a URL for as long as the token is
// valid, also after a restart, so that nobody takes another process's place. Who
// only reads (a markets node) serves nothing, finds and locks unsealed files only,
// and what it says counts for nothing where others have the path. Files are reached
// with bearers of their own (package access), made for addresses known here.
//
// The package touches no disk but the store of whose URLs are, and starts no goroutine; expired leases and
// silent paths are noticed when somebody asks.
package index
