package api

import (
	"fmt"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"
)

// SectorRef names a sector across subsystems; where its bytes are is the
// storage subsystem's business.
type SectorRef struct {
	ID        abi.SectorID
	ProofType abi.RegisteredSealProof
}

// String is the field's usual s-t01000-7.
func (r SectorRef) String() string { return SectorName(r.ID) }

// SectorName is the file name of a sector: s-t0<miner>-<number>.
func SectorName(id abi.SectorID) string { return fmt.Sprintf("s-t0%d-%d", id.Miner, id.Number) }

// ParseSectorName is the inverse of SectorName; it also accepts f0.
func ParseSectorName(s string) (abi.SectorID, error) {
	var id abi.SectorID
	t := strings.Replace(s, "s-f0", "s-t0", 1)
	n, err := fmt.Sscanf(t, "s-t0%d-%d", &id.Miner, &id.Number)
	if err != nil || n != 2 || SectorName(id) != t {
		return abi.SectorID{}, fmt.Errorf("%q is not a sector file name (want s-t0<miner>-<number>)", s)
	}
	return id, nil
}

// FileType is a set of kinds of sector file; the numbers are those of Lotus.
type FileType int

// Sector file kinds, also the names of the directories they live in.
const (
	FileUnsealed    FileType = 1 << iota // fr32-padded sector data, partial
	FileSealed                           // replica
	FileCache                            // directory: layers, trees, p_aux, t_aux
	FileUpdate                           // updated replica
	FileUpdateCache                      // directory
)

// AllFileTypes lists the kinds singly.
var AllFileTypes = []FileType{FileUnsealed, FileSealed, FileCache, FileUpdate, FileUpdateCache}

// Has tells whether t contains every kind of o.
func (t FileType) Has(o FileType) bool { return t&o == o }

// String gives directory names joined by comma.
func (t FileType) String() string {
	names := []string{"unsealed", "sealed", "cache", "update", "update-cache"}
	var out []string
	for i, n := range names {
		if t.Has(1 << i) {
			out = append(out, n)
		}
	}
	return strings.Join(out, ",")
}

// ParseFileType reads one directory name.
func ParseFileType(s string) (FileType, error) {
	for _, t := range AllFileTypes {
		if t.String() == s {
			return t, nil
		}
	}
	return 0, fmt.Errorf("unknown sector file type %q (want unsealed, sealed, cache, update or update-cache)", s)
}

// SharedDir is the directory of a storage path in which pieces are handed over by
// a path that two processes share.
const SharedDir = "staging"

// DataRef says where the receiving side can pull bytes from. Exactly one of
// the two ways is set; the receiver checks size and commitment while reading.
type DataRef struct {
	// Storage and Path name a file under a storage path that both processes
	// have attached (same sectorstore.json ID). Path is relative, slash form, and
	// begins with SharedDir/: nothing else on a storage path is piece data.
	StorageID StorageID `json:",omitempty"`
	Path      string    `json:",omitempty"`
	// URL serves the bytes with Range; Token goes into Authorization: Bearer.
	URL   string `json:",omitempty"`
	Token string `json:",omitempty"`
	// Size is the number of payload bytes, before any padding.
	Size uint64
}
