// Package tasks does sealing tasks over the files on this process's storage
// paths, fetching what it lacks.
//
// What a task writes lies under a temporary name until it is whole, synced and
// the claim on the task has been confirmed; then it gets its final name by rename
// and is declared. Files of an attempt are deleted only when the data turned out
// to be wrong, or when the private node says that the task is done or forgotten:
// never because of contact, space or a stop, so the next attempt goes on with
// them. Before the last other copy of anything is deleted the kept one is proven.
//
// The package does not know whose a task is and how results travel; it makes no
// decisions about sectors and never talks to the chain.
package tasks
