// Package lifecycle starts the parts of a process in order and stops them in
// reverse, all within one budget.
//
// It knows nothing of what the parts do, restarts nothing, and never kills a
// goroutine: a part that ignores its context is named in the error.
package lifecycle
