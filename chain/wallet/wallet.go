package wallet

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/crypto"

	"quarry/api"
	"quarry/internal/filcrypto"
)

// Keystore stores named secrets. Get of an absent name returns ErrNoRecord.
type Keystore interface {
	List(ctx context.Context) ([]string, error)
	Get(ctx context.Context, name string) ([]byte, error)
	Put(ctx context.Context, name string, data []byte) error
	Delete(ctx context.Context, name string) error
}

// ErrNoRecord is returned by a Keystore for an absent name.
var ErrNoRecord = errors.New("no such key record")

// ErrKeyNotFound answers any use of an address without a key. The text is that
// of Lotus, on which clients match.
var ErrKeyNotFound = errors.New("key info not found")

const (
	keyPrefix   = "wallet-"
	trashPrefix = "trash-wallet-"
	defaultName = "default"
)

// Wallet signs with the keys of one keystore.
type Wallet struct {
	store Keystore
	mu    sync.Mutex
	keys  map[address.Address]api.KeyInfo
}

// Deps are the collaborators; all are needed.
type Deps struct{ Keystore Keystore }

// New opens the wallet; keys are read when first used.
func New(deps Deps) (*Wallet, error) {
	if deps.Keystore == nil {
		return nil, errors.New("wallet: no keystore given")
	}
	return &Wallet{store: deps.Keystore, keys: make(map[address.Address]api.KeyInfo)}, nil
}

func sigType(t api.KeyType) (crypto.SigType, error) {
	switch t {
	case api.KeyBLS:
		return crypto.SigTypeBLS, nil
	case api.KeySecp256k1:
		return crypto.SigTypeSecp256k1, nil
	}
	return 0, &api.ErrInvalid{What: "key type", Reason: fmt.Sprintf("%q is not supported", t), Hint: "use bls or secp256k1"}
}

// Address derives the key address of a key.
func Address(k *api.KeyInfo) (address.Address, error) {
	t, err := sigType(k.Type)
	if err != nil {
		return address.Undef, err
	}
	return filcrypto.PublicAddress(t, k.PrivateKey)
}

// record names use the network-independent f prefix.
func recordName(a address.Address) string {
	return keyPrefix + "f" + strings.TrimLeft(a.String(), "ft")
}

// NewKey makes a key, the default one when there was none.
func (w *Wallet) NewKey(ctx context.Context, t api.KeyType) (address.Address, error) {
	st, err := sigType(t)
	if err != nil {
		return address.Undef, err
	}
	priv, err := filcrypto.Generate(st, rand.Reader)
	if err != nil {
		return address.Undef, fmt.Errorf("generate %s key: %w", t, err)
	}
	return w.Import(ctx, &api.KeyInfo{Type: t, PrivateKey: priv})
}

// Import stores a key; importing it again changes nothing.
func (w *Wallet) Import(ctx context.Context, k *api.KeyInfo) (address.Address, error) {
	if k == nil {
		return address.Undef, &api.ErrInvalid{What: "key", Reason: "no key given"}
	}
	a, err := Address(k)
	if err != nil {
		return address.Undef, &api.ErrInvalid{What: "key", Reason: err.Error()}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	data, err := json.Marshal(struct {
		Type       api.KeyType
		PrivateKey []byte
	}{k.Type, k.PrivateKey})
	if err != nil {
		return address.Undef, fmt.Errorf("encode key %s: %w", a, err)
	}
	if err := w.store.Put(ctx, recordName(a), data); err != nil {
		return address.Undef, fmt.Errorf("store key %s: %w", a, err)
	}
	w.keys[a] = *k
	if _, err := w.store.Get(ctx, defaultName); errors.Is(err, ErrNoRecord) {
		if err := w.store.Put(ctx, defaultName, []byte(a.String())); err != nil {
			return address.Undef, fmt.Errorf("store default address %s: %w", a, err)
		}
	}
	return a, nil
}

func (w *Wallet) key(ctx context.Context, a address.Address) (*api.KeyInfo, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if k, ok := w.keys[a]; ok {
		return &k, nil
	}
	data, err := w.store.Get(ctx, recordName(a))
	if errors.Is(err, ErrNoRecord) {
		return nil, fmt.Errorf("%s: %w", a, ErrKeyNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", a, err)
	}
	var k api.KeyInfo
	if err := json.Unmarshal(data, &k); err != nil {
		return nil, fmt.Errorf("decode key %s: %w", a, err)
	}
	w.keys[a] = k
	return &k, nil
}

// Has tells whether the key of a is here.
func (w *Wallet) Has(ctx context.Context, a address.Address) (bool, error) {
	_, err := w.key(ctx, a)
	if errors.Is(err, ErrKeyNotFound) {
		return false, nil
	}
	return err == nil, err
}

// List names all keys, in a fixed order.
func (w *Wallet) List(ctx context.Context) ([]address.Address, error) {
	names, err := w.store.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	slices.Sort(names)
	out := []address.Address{}
	for _, n := range names {
		s, ok := strings.CutPrefix(n, keyPrefix)
		if !ok {
			continue
		}
		a, err := address.NewFromString(s)
		if err != nil {
			return nil, fmt.Errorf("key record %q: %w", n, err)
		}
		out = append(out, a)
	}
	return out, nil
}

// Sign signs data with the key of a key address.
func (w *Wallet) Sign(ctx context.Context, a address.Address, data []byte) (*crypto.Signature, error) {
	k, err := w.key(ctx, a)
	if err != nil {
		return nil, err
	}
	t, err := sigType(k.Type)
	if err != nil {
		return nil, err
	}
	return filcrypto.Sign(t, k.PrivateKey, data)
}

// SignMessage signs the message CID.
func (w *Wallet) SignMessage(ctx context.Context, a address.Address, m *api.Message) (*api.SignedMessage, error) {
	sig, err := w.Sign(ctx, a, m.Cid().Bytes())
	if err != nil {
		return nil, fmt.Errorf("sign message of %s: %w", m.From, err)
	}
	return &api.SignedMessage{Message: *m, Signature: *sig}, nil
}

// Export returns the private key.
func (w *Wallet) Export(ctx context.Context, a address.Address) (*api.KeyInfo, error) {
	return w.key(ctx, a)
}

// Delete moves a key out of use; the record is kept under another name.
func (w *Wallet) Delete(ctx context.Context, a address.Address) error {
	if _, err := w.key(ctx, a); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	data, err := w.store.Get(ctx, recordName(a))
	if err != nil {
		return fmt.Errorf("read key %s: %w", a, err)
	}
	if err := w.store.Put(ctx, trashPrefix+strings.TrimPrefix(recordName(a), keyPrefix), data); err != nil {
		return fmt.Errorf("keep deleted key %s: %w", a, err)
	}
	if err := w.store.Delete(ctx, recordName(a)); err != nil {
		return fmt.Errorf("delete key %s: %w", a, err)
	}
	delete(w.keys, a)
	if def, err := w.store.Get(ctx, defaultName); err == nil && string(def) == a.String() {
		return w.store.Delete(ctx, defaultName)
	}
	return nil
}

// Default is the address used where none is named.
func (w *Wallet) Default(ctx context.Context) (address.Address, error) {
	data, err := w.store.Get(ctx, defaultName)
	if errors.Is(err, ErrNoRecord) {
		return address.Undef, &api.ErrNotFound{What: "default wallet address", Hint: "make a key or choose one as default"}
	}
	if err != nil {
		return address.Undef, fmt.Errorf("read default address: %w", err)
	}
	return address.NewFromString(string(data))
}

// SetDefault chooses the default address; its key must be here.
func (w *Wallet) SetDefault(ctx context.Context, a address.Address) error {
	if _, err := w.key(ctx, a); err != nil {
		return err
	}
	return w.store.Put(ctx, defaultName, []byte(a.String()))
}
