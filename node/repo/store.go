package repo

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/namespace"
	"github.com/ipfs/go-datastore/query"
	badger "github.com/ipfs/go-ds-badger2"
)

// Subsystem is an owner of datastore keys.
type Subsystem string

// Owners. Each has the prefix of its name; backup, restore and the move of
// markets to another machine walk this list.
const (
	Node     Subsystem = "node"     // miner address and what a process remembers of itself
	Auth     Subsystem = "auth"     // issued tokens
	Messages Subsystem = "messages" // keyed chain messages
	Mining   Subsystem = "mining"
	Sealing  Subsystem = "sealing"
	Storage  Subsystem = "storage"
	Markets  Subsystem = "markets"
	Worker   Subsystem = "worker"
	Devnet   Subsystem = "devnet"
	Client   Subsystem = "client"
)

// Subsystems lists every owner.
var Subsystems = []Subsystem{Node, Auth, Messages, Mining, Sealing, Storage, Markets, Worker, Devnet, Client}

// Prefix is where the owner's keys live.
func (s Subsystem) Prefix() datastore.Key { return datastore.NewKey("/" + string(s)) }

// Datastore is the part of the store that belongs to sub. Several parts of one
// owner take sub-prefixes of it themselves. An owner missing in Subsystems is a
// programming error and panics.
func (r *Repo) Datastore(sub Subsystem) datastore.Batching {
	if !slices.Contains(Subsystems, sub) {
		panic(fmt.Sprintf("repo: %q owns no prefix", sub))
	}
	return namespace.Wrap(r.store, sub.Prefix())
}

// Raw is the whole datastore, for backup and restore.
func (r *Repo) Raw() datastore.Batching { return r.store }

// Strays lists up to limit keys outside every prefix: somebody bypassed
// Datastore, and a backup would lose them.
func (r *Repo) Strays(ctx context.Context, limit int) ([]string, error) {
	res, err := r.store.Query(ctx, query.Query{KeysOnly: true})
	if err != nil {
		return nil, fmt.Errorf("walk the datastore: %w", err)
	}
	defer func() { _ = res.Close() }()
	var out []string
	for e := range res.Next() {
		if e.Error != nil {
			return nil, fmt.Errorf("walk the datastore: %w", e.Error)
		}
		if len(out) < limit && !owned(e.Key) {
			out = append(out, e.Key)
		}
	}
	return out, nil
}

func owned(key string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(key, "/"), "/")
	return slices.Contains(Subsystems, Subsystem(first))
}

// store is the badger2 datastore of a repo.
type store struct{ *badger.Datastore }

// closeBudget bounds the closing of the store: on a full disk the engine tries
// to write its tables for ever.
var closeBudget = 5 * time.Second

// ErrUnflushed says that the store could not be closed in order. Nothing that
// was acknowledged is lost: it is in the synced log and is read at the next open.
type ErrUnflushed struct{ After time.Duration }

func (e *ErrUnflushed) Error() string {
	return fmt.Sprintf("the datastore could not write its tables within %s (is the disk full?); what it acknowledged is in "+
		"its log and is read at the next start", e.After)
}

// Close flushes and closes within closeBudget.
func (s *store) Close() error { return closeWithin(s.Datastore.Close) }

// closeWithin calls run. What is left of it after *ErrUnflushed ends with the
// process, which must end.
func closeWithin(run func() error) error {
	done := make(chan error, 1)
	go func() { done <- run() }()
	limit := time.NewTimer(closeBudget)
	defer limit.Stop()
	select {
	case err := <-done:
		return err
	case <-limit.C:
		return &ErrUnflushed{After: closeBudget}
	}
}

func openStore(dir string) (*store, error) {
	opt := badger.DefaultOptions // synced writes; drops the torn end of the log a power cut leaves
	opt.GcInterval = 15 * time.Minute
	o := opt.Options.
		WithSyncWrites(true).
		WithTruncate(true).
		WithLogger(nil).
		// Several processes share one small machine.
		WithNumMemtables(2).
		WithMaxTableSize(16 << 20).
		WithValueLogFileSize(128 << 20).
		WithNumCompactors(2).
		WithBlockCacheSize(8 << 20).
		WithIndexCacheSize(8 << 20).
		WithKeepL0InMemory(false)
	opt.Options = o
	ds, err := badger.NewDatastore(filepath.Join(dir, "state"), &opt)
	if err != nil {
		return nil, fmt.Errorf("open datastore %s: %w", dir, err)
	}
	return &store{ds}, nil
}
