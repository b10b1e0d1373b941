// Package storage is the sector storage subsystem: it knows where sector files
// are, who may touch them, which work on them is due, and it proves the sectors
// it stores.
//
// Manager implements api.Storage by joining the rooms below it: index (paths,
// files, locks), sched (tasks and workers), paths and fetch (this process's own
// directories, and those of others). It keeps tasks in the datastore it is
// given and nothing else; sector files speak for themselves.
//
// It refuses to decide anything about sectors (sealing does), to hold keys and
// to talk to the chain.
package storage
