// Package loglimit bounds how many log lines somebody outside can cause.
//
// It counts lines that name their source (an attribute remote or peer) by text
// and source, and by text over all sources, since sources cost nothing; the next
// line that passes says how many were left out. It refuses to hold back lines
// without a source: they are this process's own.
package loglimit
