package paramcache

import (
	_ "embed"
	"encoding/json"
	"slices"
	"sync"
)

// published.json is rust-fil-proofs parameters.json and srs-inner-product.json,
// without the fields nobody reads; bytes are computed from the circuits, 0 where
// they are not known.
//
//go:embed published.json
var publishedJSON []byte

// File is a published parameter file.
type File struct {
	Name       string `json:"file"`        // with its extension
	SectorSize uint64 `json:"sector_size"` // bytes; 0 for the aggregation SRS
	Digest     string `json:"digest"`      // first 16 bytes of BLAKE2b-512, hex
	CID        string `json:"cid"`         // where the public network finds it
	Bytes      int64  `json:"bytes"`       // 0 = not known
}

var published = sync.OnceValue(func() []File {
	var out []File
	if err := json.Unmarshal(publishedJSON, &out); err != nil {
		panic("paramcache: the compiled-in list is broken: " + err.Error()) // a broken build, caught by the tests
	}
	return out
})

// Published lists the files of the public networks.
func Published() []File { return slices.Clone(published()) }

// Lookup finds a published file by its name with extension.
func Lookup(name string) (File, bool) {
	i := slices.IndexFunc(published(), func(f File) bool { return f.Name == name })
	if i < 0 {
		return File{}, false
	}
	return published()[i], true
}
