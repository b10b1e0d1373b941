// Package worker is a process that does sealing tasks: package engine, which
// gets them from the private node and brings the results back, with package
// tasks, which does them over the files on this process's storage paths.
//
// Neither side loses work by restarting or by being away. A finished result is in
// the worker's own store before it is reported and stays there until the report
// was acknowledged; what a stopped task had written is gone on with. Losing
// contact with the private node stops nothing and deletes nothing.
//
// The package makes no decisions about sectors and never talks to the chain.
package worker
