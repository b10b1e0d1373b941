package node

import (
	"bytes"
	"encoding/json"

	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/internal/durable"
)

// writeNew writes an operator's file durably. A config may hold the token of
// another process.
func writeNew(path string, data []byte) error { return durable.WriteFile(path, data, 0o600) }

// writeStorageFile writes a storage.json that names one directory, in the form
// Lotus writes (lotus storage/paths).
func writeStorageFile(path, dir string) error {
	type entry struct{ Path string }
	b, err := json.MarshalIndent(struct{ StoragePaths []entry }{[]entry{{dir}}}, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(path, append(b, '\n'), 0o644)
}

func unmarshal(b []byte, into cbg.CBORUnmarshaler) error {
	return into.UnmarshalCBOR(bytes.NewReader(b))
}
