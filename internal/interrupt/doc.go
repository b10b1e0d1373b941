// Package interrupt is what every command does when it is asked to stop: the
// first interrupt, SIGTERM or SIGHUP ends the context, so that the process can
// stop in order; the second ends the process at once.
//
// It starts nothing else and decides no exit code but that of a failed command.
package interrupt
