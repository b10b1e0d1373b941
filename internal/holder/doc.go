// Package holder sees to it that one process at a time is what only one may be,
// and names that one to the others: by a locked file where they share a disk
// (Take), by a sign of life where locks of that disk do not reach from machine to
// machine (Light), by a register where they only talk to a common third (Register).
//
// It decides nothing about files or work, takes nothing away from a holder that
// lives, and is no consensus: processes that share neither a disk nor a third
// process do not learn of each other here.
package holder
