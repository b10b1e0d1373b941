// Package repo is the directory a process lives in: its lock, its kind, its
// keys, its tokens and its datastore, with the one list of prefixes that says
// which part of the datastore belongs to whom.
//
// The layout is Lotus's: config.toml, storage.json, api, token, repo.lock,
// keystore/, datastore/. Unlike there, a marker says what kind of process the
// directory belongs to. The package never reads or writes config.toml and knows
// no subsystem beyond its prefix.
package repo
