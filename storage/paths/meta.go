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
	var m api.PathMeta
	if err := readJSON(filepath.Join(dir, MetaFile), &m); err != nil {
		return m, fmt.Errorf("storage path %s: %w (write one with storage attach --init)", dir, err)
	}
	if m.ID == "" {
		return m, &api.ErrInvalid{What: "storage path " + dir, Reason: MetaFile + " has no ID"}
	}
	return m, nil
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
