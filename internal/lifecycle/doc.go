// Package lifecycle starts the parts of a process in order and stops them in
// reverse, all within one budget. A part is vital, and its failure ends the
// process, or it is kept: started again after a pause, while the others work on.
//
// It knows nothing of what the parts do, and never kills a goroutine: a part that
// ignores its context is named in the error. A panic in a goroutine that a part
// started itself would end the process: a part has a Catcher for them.
package lifecycle
