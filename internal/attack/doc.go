// Command attack owns the host of a markets node: it reads its repo, takes the
// token that it finds there, and tries with it, and without it, what should not be
// possible: every method and every route of the private node and of a worker,
// URLs and bearers that lead astray, tokens that nobody was given, listeners that
// are kept waiting, libp2p streams that say nothing.
//
// It prints a line for each try and ends with 0 only when every one was refused and
// the network works as before: sectors are proven, nothing has changed hands. The
// network is one of its own on the loopback address, made for the run; a short form
// against one process is a test of the package.
//
// It knows no way in but the doors, and breaks nothing that it does not try.
package main
