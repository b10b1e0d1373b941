package access

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"time"

	"quarry/api"
)

// askPause is how often the node is asked for its key at most: strangers name keys
// as they like.
const askPause = 5 * time.Second

// believed is how long a key counts without the node having named it again: longer
// than a node is away while its operator shrugs, shorter than a key is old.
const believed = 24 * time.Hour

// Node tells its key; a part of api.Index.
type Node interface {
	StorageFileKey(ctx context.Context) (api.FileKey, error)
}

// RemoteKeys are the keys of a node as another process learns them. What it learned
// lives as long as the process and outlasts the node being away.
type RemoteKeys struct {
	node   Node
	asking chan struct{} // one question at a time
	now    func() time.Time

	mu      sync.Mutex
	current api.FileKey
	learned time.Time // of current
	asked   time.Time
}

// NewRemoteKeys makes RemoteKeys; nothing is asked yet.
func NewRemoteKeys(n Node) *RemoteKeys {
	return &RemoteKeys{node: n, asking: make(chan struct{}, 1), now: time.Now}
}

// Key implements [Keys].
func (k *RemoteKeys) Key(ctx context.Context, id string) (ed25519.PublicKey, error) {
	if public, ok := k.have(id); ok {
		return public, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	select {
	case k.asking <- struct{}{}:
		defer func() { <-k.asking }()
	case <-ctx.Done():
		return nil, fmt.Errorf("key of the private node: %w", ctx.Err())
	}
	if public, ok := k.have(id); ok { // learned meanwhile
		return public, nil
	}
	if err := k.learn(ctx); err != nil {
		return nil, err
	}
	if public, ok := k.have(id); ok {
		return public, nil
	}
	return nil, fmt.Errorf("%w: it was made with a key that the private node does not use", ErrRefused)
}

func (k *RemoteKeys) have(id string) (ed25519.PublicKey, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if id == "" || id != k.current.ID || k.now().Sub(k.learned) > believed {
		return nil, false
	}
	return k.current.Public, true
}

// learn asks the node, unless it has just been asked.
func (k *RemoteKeys) learn(ctx context.Context) error {
	k.mu.Lock()
	soon := !k.asked.IsZero() && k.now().Sub(k.asked) < askPause
	k.mu.Unlock()
	if soon {
		return nil
	}
	got, err := k.node.StorageFileKey(ctx)
	if err == nil && (len(got.Public) != ed25519.PublicKeySize || got.ID != KeyID(got.Public)) {
		err = errors.New("it is no Ed25519 key under its own name")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = k.now()
	if err != nil {
		return fmt.Errorf("key of the private node for the bearers of files: %w", err)
	}
	k.current, k.learned = got, k.now()
	return nil
}
