package wallet

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// DatastoreKeystore keeps records in a datastore, synced before Put returns.
type DatastoreKeystore struct{ DS datastore.Batching }

// List names all records.
func (s DatastoreKeystore) List(ctx context.Context) ([]string, error) {
	res, err := s.DS.Query(ctx, query.Query{KeysOnly: true})
	if err != nil {
		return nil, err
	}
	all, err := res.Rest()
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(all))
	for _, e := range all {
		out = append(out, strings.TrimPrefix(e.Key, "/"))
	}
	return out, nil
}

// Get reads a record, ErrNoRecord when absent.
func (s DatastoreKeystore) Get(ctx context.Context, name string) ([]byte, error) {
	b, err := s.DS.Get(ctx, datastore.NewKey(name))
	if errors.Is(err, datastore.ErrNotFound) {
		return nil, fmt.Errorf("%q: %w", name, ErrNoRecord)
	}
	return b, err
}

// Put writes a record durably.
func (s DatastoreKeystore) Put(ctx context.Context, name string, data []byte) error {
	k := datastore.NewKey(name)
	if err := s.DS.Put(ctx, k, data); err != nil {
		return err
	}
	return s.DS.Sync(ctx, k)
}

// Delete removes a record durably.
func (s DatastoreKeystore) Delete(ctx context.Context, name string) error {
	k := datastore.NewKey(name)
	if err := s.DS.Delete(ctx, k); err != nil {
		return err
	}
	return s.DS.Sync(ctx, k)
}
