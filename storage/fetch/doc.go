// Package fetch moves sector files between processes over HTTP and reads parts
// of them from afar.
//
// A file is fetched in segments with Range requests; each segment carries its
// BLAKE2b-256 in an HTTP trailer, so a fetch that broke off goes on after the
// last segment that was verified, also after a restart, unless the file has changed:
// its strong validator is kept beside the partial file (package httpx). A directory is a JSON
// listing and one request per file. Unsealed ranges are served only when they
// were written.
//
// A server is shown a bearer that opens the one file that it is asked for, for some
// minutes (package access), and never another token: addresses come from others.
// The package checks no bearers when serving (whoever mounts the handlers does),
// follows no redirects when fetching, and limits size and silence of whatever
// it reads.
package fetch
