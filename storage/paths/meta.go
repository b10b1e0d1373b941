package paths

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/filecoin-project/go-address"
	"github.com/google/uuid"

	"quarry/api"
	"quarry/internal/durable"
)

// MetaFile is the file at the root of each path that holds its identity.
const MetaFile = "sectorstore.json"

// maxMeta bounds sectorstore.json and storage.json, in bytes.
const maxMeta = 1 << 20

// storageFile is storage.json, as Lotus writes it.
type storageFile struct {
	StoragePaths []storageEntry
}

type storageEntry struct{ Path string }

// InitDir makes dir a storage path: its sectorstore.json and the directories
// for each kind of file. An empty ID is replaced by a new one. A directory that
// already is a path is refused with *api.ErrInvalid.
func InitDir(dir string, meta api.PathMeta) error {
	if meta.ID == "" {
		meta.ID = api.StorageID(uuid.NewString())
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // shared between users of one group on purpose
		return fmt.Errorf("create storage path %s: %w", dir, err)
	}
	name := filepath.Join(dir, MetaFile)
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return &api.ErrInvalid{What: "storage path " + dir, Reason: "it already has a " + MetaFile, Hint: "attach it without --init"}
	}
	if err := makeTypeDirs(dir); err != nil {
		return err
	}
	b, err := json.MarshalIndent(meta, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return durable.WriteFile(name, append(b, '\n'), 0o644)
}

func makeTypeDirs(dir string) error {
	for _, t := range api.AllFileTypes {
		if err := os.MkdirAll(filepath.Join(dir, t.String()), 0o755); err != nil { //nolint:gosec // as above
			return fmt.Errorf("create storage path %s: %w", dir, err)
		}
	}
	return nil
}

// ReadMeta reads the identity of the path at dir. A directory without one gives
// an error that errors.Is fs.ErrNotExist.
func ReadMeta(dir string) (api.PathMeta, error) {
	m, _, err := readMeta(dir)
	return m, err
}

// readMeta also names the keys that mean nothing here.
func readMeta(dir string) (m api.PathMeta, unknown []string, err error) {
	name := filepath.Join(dir, MetaFile)
	if err := readJSON(name, &m); err != nil {
		return m, nil, fmt.Errorf("storage path %s: %w (write one with storage attach --init)", dir, err)
	}
	if m.ID == "" {
		return m, nil, &api.ErrInvalid{What: "storage path " + dir, Reason: MetaFile + " has no ID"}
	}
	for _, list := range [][]string{m.AllowTypes, m.DenyTypes} {
		for _, t := range list {
			if _, err := api.ParseFileType(t); err != nil {
				return m, nil, &api.ErrInvalid{
					What:   "storage path " + dir,
					Reason: fmt.Sprintf("%s names the kind of file %q", MetaFile, t),
					Hint:   "kinds are unsealed, sealed, cache, update and update-cache",
				}
			}
		}
	}
	for _, list := range [][]string{m.AllowMiners, m.DenyMiners} {
		for _, a := range list {
			if id, err := address.NewFromString(a); err != nil || id.Protocol() != address.ID {
				return m, nil, &api.ErrInvalid{
					What:   "storage path " + dir,
					Reason: fmt.Sprintf("%s names the miner %q", MetaFile, a),
					Hint:   "miners are named by their ID address, such as f01000",
				}
			}
		}
	}
	unknown, err = unknownKeys(name)
	return m, unknown, err
}

// unknownKeys lists the keys of a sectorstore.json that PathMeta does not have.
func unknownKeys(name string) ([]string, error) {
	var keys map[string]json.RawMessage
	if err := readJSON(name, &keys); err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for f := range reflect.TypeFor[api.PathMeta]().Fields() {
		known[strings.ToLower(f.Name)] = true
	}
	var out []string
	for k := range keys {
		if !known[strings.ToLower(k)] {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out, nil
}

func readJSON(name string, out any) error {
	f, err := os.Open(name) //nolint:gosec // a path the operator configured
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(io.LimitReader(f, maxMeta+1))
	if err != nil {
		return err
	}
	if len(b) > maxMeta {
		return fmt.Errorf("%s is larger than %d bytes", name, maxMeta)
	}
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(out); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// SyncDir makes renames and removals inside dir survive a crash.
func SyncDir(dir string) error { return durable.SyncDir(dir) }
