// Package engine gets tasks from the private node, has them done, and brings the
// results back.
//
// One thing says whose a task is: the claim. It is kept by reports, and it is
// asked about before anything that was made is published. A private node that
// cannot be reached has not taken anything away: work goes on, calls of a task
// are repeated until they are answered, and publishing waits. Only the node's own
// word that the task is another's stops the work, and its files stay.
//
// A finished result is on the disk of this worker before anything else is looked
// at, and stays there until the node has acknowledged it or has refused it for
// good; then the task fails with the reason. Bulk results lie in a store of their
// own and are sent by name before the result that names them.
//
// The package knows nothing of sectors, files and proofs: what a task does is a
// function that is given to it.
package engine
