// Package paths manages the storage paths of one process: directories with a
// sectorstore.json and one subdirectory per kind of sector file, laid out as
// Lotus lays them out (storage/paths/local.go).
//
// A Local knows which directories this process has, tells the index of the
// private node about them and about the sector files inside, keeps the index
// informed (and tells it everything again after it restarted), and hands out
// space. Files appear under their final names by rename only.
//
// Each path is looked after by a goroutine of its own, and what touches its disk
// has a time limit: a path that is gone, hung, not mounted or not writable gets
// nothing new and costs only its own sectors, says so to the index, and is used
// again when it is well. A directory without its sectorstore.json is not the path:
// the disk is not mounted, and what would be written there would be lost under the
// mount.
//
// The package does not copy between hosts (storage/fetch does), does not lock
// sectors (the queue of tasks does) and refuses to guess: a stray name in a
// directory is logged and left alone.
package paths
