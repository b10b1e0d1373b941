// Package paths manages the storage paths of one process: directories with a
// sectorstore.json and one subdirectory per kind of sector file, laid out as
// Lotus lays them out (storage/paths/local.go).
//
// A Local knows which directories this process has, tells the index of the
// private node about them and about the sector files inside, keeps the index
// informed (and tells it everything again after it restarted), and hands out
// space. Files appear under their final names by rename only.
//
// The package does not copy between hosts (storage/fetch does), does not lock
// sectors (the index does) and refuses to guess: a stray name in a directory
// is logged and left alone.
package paths
