// Package access makes and checks bearers for single files. One opens one file of
// one sector in one process, for reading or for deleting it, for some minutes; it
// is worth nothing for another file, at another process, or for the API.
//
// The private node makes them, for who may have the file, and only for addresses
// that it knows from its own workers. Processes that serve files check them by the
// node's public key alone: they need not reach it for every request, and cannot
// make any themselves. Clocks may differ by a minute.
//
// The package knows no file and no directory, keeps nothing, and never prints a
// bearer.
package access
