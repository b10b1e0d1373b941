// Package sched keeps sealing tasks and hands them to workers that ask.
//
// A task is keyed for ever: submitting the same key again gives the first task
// with its state and result, so callers repeat themselves after a crash. Every
// change is in the datastore before it is answered. Workers pull: a claim says
// what the worker still works on, and what it no longer mentions, or what it has
// not reported on within the lease, is queued again.
//
// The package knows resources and where files are (through Reach) but not what
// tasks do, touches no sector file and never pushes work to anybody.
package sched
