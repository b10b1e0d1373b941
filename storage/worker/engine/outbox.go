package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"quarry/api"
)

// outcome is a finished task whose report has not been acknowledged.
type outcome struct {
	Task    api.UUID
	Key     string
	Attempt int
	Result  json.RawMessage `json:",omitempty"`
	Bulk    []api.BlobRef   `json:",omitempty"` // that Result names
	Failure *api.Failure    `json:",omitempty"`
	Refused bool            `json:",omitempty"` // Failure says why the result was not taken
}

var outboxKey = datastore.NewKey("/worker/out")

// outbox is where outcomes outlive the process.
type outbox struct{ store datastore.Batching }

func (b outbox) key(o outcome) datastore.Key { return outboxKey.ChildString(o.Task.String()) }

func (b outbox) put(ctx context.Context, o outcome) error {
	raw, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encode result of %s: %w", o.Key, err)
	}
	if err := b.store.Put(ctx, b.key(o), raw); err != nil {
		return fmt.Errorf("store result of %s: %w", o.Key, err)
	}
	if err := b.store.Sync(ctx, b.key(o)); err != nil {
		return fmt.Errorf("store result of %s: %w", o.Key, err)
	}
	return nil
}

func (b outbox) drop(ctx context.Context, o outcome) error {
	if err := b.store.Delete(ctx, b.key(o)); err != nil {
		return err
	}
	return b.store.Sync(ctx, b.key(o))
}

// all lists the outcomes. One that cannot be read is dropped: its task is done
// again.
func (b outbox) all(ctx context.Context, log *slog.Logger) ([]outcome, error) {
	res, err := b.store.Query(ctx, query.Query{Prefix: outboxKey.String()})
	if err != nil {
		return nil, fmt.Errorf("read undelivered results: %w", err)
	}
	entries, err := res.Rest()
	if err != nil {
		return nil, fmt.Errorf("read undelivered results: %w", err)
	}
	var out []outcome
	for _, entry := range entries {
		var o outcome
		if err := json.Unmarshal(entry.Value, &o); err != nil {
			log.Error("an undelivered result is damaged and dropped; the task will be done again", "key", entry.Key, "err", err)
			if err := b.store.Delete(ctx, datastore.NewKey(entry.Key)); err != nil {
				return nil, fmt.Errorf("drop damaged result: %w", err)
			}
			continue
		}
		out = append(out, o)
	}
	return out, nil
}
