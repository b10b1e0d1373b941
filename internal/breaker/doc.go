// Package breaker keeps calls that may never come back from taking their
// callers with them: a read from a dead network mount blocks its thread in the
// kernel, and no context ends that.
//
// Calls go by key, one for each thing that hangs as a whole (a storage path, a
// host). Each key has a few places; a call runs in a goroutine of its own, and
// its caller waits for it no longer than a limit. When a call is overdue and
// nothing else of its key came back since it began, the key is hung: callers in
// line and later ones are refused at once, naming the key and since when. One
// call at a time then goes ahead as a probe. The key is well again as soon as any
// call of it comes back, a probe or an old one, whatever its result.
//
// It refuses to end a call that hangs, since nobody can: a key leaks at most its
// places and a probe, and another probe each time twice the time has passed, until
// the kernel gives them back. It does not say whether an error of a call is bad; a
// call that came back is a call that came back.
package breaker
