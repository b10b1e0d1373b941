package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"quarry/chain/wallet"
	"quarry/node/repo"
)

// walletKeys shows the repo's keystore to the wallet. The default address is a
// record like any other, with the address in place of the key, as Lotus has it.
type walletKeys struct{ keys *repo.Keystore }

func (w walletKeys) List(context.Context) ([]string, error) { return w.keys.List() }

func (w walletKeys) Get(_ context.Context, name string) ([]byte, error) {
	k, err := w.keys.Get(name)
	var missing *repo.ErrNoKey
	if errors.As(err, &missing) {
		return nil, fmt.Errorf("%q: %w", name, wallet.ErrNoRecord)
	}
	if err != nil {
		return nil, err
	}
	if k.Type == kindAddress {
		return k.PrivateKey, nil
	}
	return json.Marshal(k)
}

const kindAddress = "address"

func (w walletKeys) Put(_ context.Context, name string, data []byte) error {
	var k repo.Key
	if json.Unmarshal(data, &k) != nil {
		k = repo.Key{Type: kindAddress, PrivateKey: data}
	}
	// The keystore never overwrites. A key's name follows from the key, so that
	// the same name means the same key; only the default address changes.
	old, err := w.keys.Get(name)
	if err == nil {
		if old.Type == k.Type && bytes.Equal(old.PrivateKey, k.PrivateKey) {
			return nil
		}
		if err := w.keys.Delete(name); err != nil {
			return err
		}
	}
	return w.keys.Put(name, k)
}

func (w walletKeys) Delete(_ context.Context, name string) error { return w.keys.Delete(name) }
