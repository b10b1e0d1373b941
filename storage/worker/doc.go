// Package worker does sealing tasks: it asks the private node for one, does it
// over the files on its own storage paths (fetching what it lacks), and reports.
//
// A finished result is in the worker's own store before it is reported and
// stays there until the report was acknowledged, so neither side loses work by
// restarting. What a task writes appears under its final name by rename and
// after a sync; doing a task again after a crash gives the same files.
//
// The package makes no decisions about sectors and never talks to the chain.
package worker
