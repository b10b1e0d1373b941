package repo

import (
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"quarry/internal/durable"
	"quarry/internal/secret"
)

// Names of keys every repo may hold (lotus node/modules/core.go).
const (
	KeyJWTSecret = "auth-jwt-private"
	KeyLibp2p    = "libp2p-host"
)

// Key is a private key with its kind, as Lotus stores it.
type Key struct {
	Type       string
	PrivateKey []byte
}

// String keeps the key out of logs.
func (k Key) String() string { return "Key{" + k.Type + "}" }

// ErrNoKey says that the keystore lacks a key.
type ErrNoKey struct{ Name string }

func (e *ErrNoKey) Error() string { return fmt.Sprintf("key %q is not in the keystore", e.Name) }

// Keystore is a directory with one file per key, readable by the owner only.
type Keystore struct{ dir string }

// OpenKeystore uses dir as a keystore, creating it.
func OpenKeystore(dir string) (*Keystore, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	return &Keystore{dir: dir}, nil
}

const trashPrefix = "trash-"

var keyNames = base32.StdEncoding.WithPadding(base32.NoPadding)

func (k *Keystore) path(name string) (string, error) {
	if name == "" || len(name) > 128 {
		return "", fmt.Errorf("key name %q is empty or longer than 128 bytes", name)
	}
	return filepath.Join(k.dir, keyNames.EncodeToString([]byte(name))), nil
}

// List names every key that was not deleted.
func (k *Keystore) List() ([]string, error) {
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	var out []string
	for _, e := range entries {
		name, err := keyNames.DecodeString(e.Name())
		if err != nil || strings.HasPrefix(string(name), trashPrefix) {
			continue // a temporary file, or not ours
		}
		out = append(out, string(name))
	}
	return out, nil
}

// Get reads a key; ErrNoKey when there is none. A key that others can read is
// refused.
func (k *Keystore) Get(name string) (Key, error) {
	var key Key
	return key, k.read(name, &key)
}

// maxKey bounds the file of a key, bytes.
const maxKey = 64 << 10

// read decodes the file of a key.
func (k *Keystore) read(name string, into any) error {
	path, err := k.path(name)
	if err != nil {
		return err
	}
	b, err := secret.ReadOwn(path, maxKey)
	if errors.Is(err, fs.ErrNotExist) {
		return &ErrNoKey{Name: name}
	}
	if err != nil {
		return fmt.Errorf("key %q: %w", name, err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("key %q: file %s is damaged; restore it from a backup", name, path)
	}
	return nil
}

// replace writes the file of a key in one step: after a crash it is the old one
// or the new one.
func (k *Keystore) replace(name string, content any) error {
	path, err := k.path(name)
	if err != nil {
		return err
	}
	b, err := json.Marshal(content)
	if err != nil {
		return err
	}
	return durable.WriteFile(path, b, 0o600)
}

// Put stores a key durably. It never replaces one.
func (k *Keystore) Put(name string, key Key) error {
	path, err := k.path(name)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("key %q exists already; delete it first", name)
	}
	return k.replace(name, key)
}

// Delete moves a key out of the way; the file stays under a trash- name until
// an operator removes it.
func (k *Keystore) Delete(name string) error {
	path, err := k.path(name)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		to, err := k.path(fmt.Sprintf("%s%s-%d", trashPrefix, name, i))
		if err != nil {
			return err
		}
		if _, err := os.Stat(to); err == nil {
			continue
		}
		err = os.Rename(path, to)
		if errors.Is(err, fs.ErrNotExist) {
			return &ErrNoKey{Name: name}
		}
		if err != nil {
			return fmt.Errorf("delete key %q: %w", name, err)
		}
		return durable.SyncDir(k.dir)
	}
}
