// Package blobs keeps results of tasks that are too large for a JSON message,
// under the hash of their bytes.
//
// A vanilla proof of a 32 GiB sector is 11 MB. It travels once over HTTP from
// the worker to the private node, lies in a file there, and is named in the task
// record by its CID; who needs the bytes fetches them by that name. A blob is on
// disk before its name is given out and is kept while a task names it.
//
// The package does not know what the bytes mean, gives nothing to anybody
// without their name, and is no cache for sector files.
package blobs
