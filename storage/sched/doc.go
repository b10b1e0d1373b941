// Package sched keeps sealing tasks and hands them to workers that ask.
//
// A task is keyed for ever: submitting the same key again gives the first task
// with its state and result, so callers repeat themselves after a crash. Every
// change is in the datastore before it is answered; what is written does not hold
// up other tasks. Workers pull.
//
// A running task belongs to one worker by its claim, and nothing else decides
// whose it is. A claim has a fencing number and lasts a lease, counted from the
// last report; it is stored, so after a restart nothing that ran is given away
// for one whole lease. It ends early when the worker reports the end, comes back
// without the task, or an operator aborts it. A worker that was out of reach for
// longer than its lease gets the task back from one that has spent less on it:
// what was computed counts, not who was heard last.
//
// The package knows resources and where files are (through Reach and Files) but
// not what tasks do, touches no sector file and never pushes work to anybody.
package sched
