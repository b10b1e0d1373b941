package api

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
)

// StorageID is the UUID in sectorstore.json.
type StorageID string

// PathMeta is sectorstore.json, field by field as Lotus writes it.
type PathMeta struct {
	ID         StorageID
	Weight     uint64 // 0 = readonly for new files
	CanSeal    bool
	CanStore   bool
	MaxStorage uint64 // bytes, 0 = no limit
	// Groups the path belongs to, and groups to whose paths its files may be fetched;
	// empty AllowTo: to any.
	Groups  []string `json:",omitempty"`
	AllowTo []string `json:",omitempty"`
	// AllowTypes and DenyTypes are kinds of file by name ("sealed"), AllowMiners
	// and DenyMiners miner actors ("f01000"). An empty Allow list allows all; what
	// is denied is refused even where it is allowed too.
	AllowTypes  []string `json:",omitempty"`
	DenyTypes   []string `json:",omitempty"`
	AllowMiners []string `json:",omitempty"`
	DenyMiners  []string `json:",omitempty"`
}

// Refuses says why files of a kind of a miner's sectors may not be put on the
// path; empty where they may.
func (m PathMeta) Refuses(t FileType, miner abi.ActorID) string {
	actor := fmt.Sprintf("f0%d", miner)
	named := func(list []string, name string) bool {
		return slices.ContainsFunc(list, func(l string) bool {
			return l == name || len(l) > 1 && len(name) > 1 && l[0] == 't' && name[0] == 'f' && l[1:] == name[1:]
		})
	}
	switch {
	case named(m.DenyTypes, t.String()):
		return "DenyTypes names " + t.String()
	case len(m.AllowTypes) > 0 && !named(m.AllowTypes, t.String()):
		return "AllowTypes does not name " + t.String()
	case named(m.DenyMiners, actor):
		return "DenyMiners names " + actor
	case len(m.AllowMiners) > 0 && !named(m.AllowMiners, actor):
		return "AllowMiners does not name " + actor
	}
	return ""
}

// MayGoTo tells whether files of the path may be put on another one.
func (m PathMeta) MayGoTo(to PathMeta) bool {
	return len(m.AllowTo) == 0 || slices.ContainsFunc(m.AllowTo, func(g string) bool { return slices.Contains(to.Groups, g) })
}

// FsStat is the state of a path's file system, in bytes.
type FsStat struct {
	Capacity    int64
	Available   int64 // for us, after reservations
	FSAvailable int64 // as the file system says
	Reserved    int64
	Max         int64
	Used        int64
	Unwritable  string // why nothing new can be written, though what is there can be read
}

// PathHealth is the heartbeat of a path by a process that attached it.
type PathHealth struct {
	Storage StorageID
	URL     string // as the process attached it
	Stat    FsStat
	Err     string // why the path cannot be read
}

// StoragePath is one attached path as the index knows it.
type StoragePath struct {
	PathMeta
	URLs          []string // http(s) bases of processes that serve it and are well, ending in /remote
	Stat          FsStat
	LastHeartbeat time.Time
	HeartbeatErr  string // why the path gets no work and costs its sectors
}

// SectorFile is one file kind of one sector on one path.
type SectorFile struct {
	Sector  abi.SectorID
	Type    FileType // exactly one kind
	Storage StorageID
	Primary bool
}

// SectorLocationInfo tells a process where it can get a sector file.
type SectorLocationInfo struct {
	Storage  StorageID
	URLs     []string // full URLs of the file; each needs a bearer of its own, see StorageFileBearer
	Weight   uint64
	CanSeal  bool
	CanStore bool
	Primary  bool
	Groups   []string // of the path
	AllowTo  []string // groups to whose paths the file may go; empty: to any
}

// FileUse is what one bearer is for.
type FileUse struct {
	URL    string // of a file, as in SectorLocationInfo
	Delete bool   // to delete the file instead of reading it
}

// FileBearer opens one file for one use.
type FileBearer struct {
	Token string
	Valid time.Duration // from when it was made
}

// FileKey checks bearers.
type FileKey struct {
	ID     string // named in each bearer made with it
	Public []byte // Ed25519, 32 bytes
}

// MaxDeclare bounds one StorageDeclareSectors or StorageDropSectors, in files.
const MaxDeclare = 1000

// Index knows which storage paths exist, who serves them and what lies on them.
// It is rebuilt from what processes tell it.
type Index interface {
	// StorageAttach tells the index of a path and the URL under which the caller
	// serves it (may be empty); repeating it refreshes. A URL belongs to the token
	// that attached it first, for as long as that is valid: *ErrInvalid for others,
	// and for a URL from a caller that only reads (markets-peer).
	StorageAttach(ctx context.Context, p PathMeta, url string, stat FsStat) error //perm:storage-read
	// StorageDetach takes a URL of the caller back; with the last one the path and
	// what was declared on it are forgotten. What another token attached stays, with
	// *ErrInvalid.
	StorageDetach(ctx context.Context, id StorageID, url string) error //perm:storage-read
	// StorageReportHealth is the heartbeat of a path that the caller attached.
	// *ErrNotFound asks it to attach the path and to declare everything on it again.
	StorageReportHealth(ctx context.Context, h PathHealth) error                                            //perm:storage-read
	StorageList(ctx context.Context) ([]StoragePath, error)                                                 //perm:read
	StorageGet(ctx context.Context, id StorageID) (StoragePath, error)                                      //perm:read
	StorageFiles(ctx context.Context, id StorageID, cursor string, limit int) ([]SectorFile, string, error) //perm:read
	// StorageDeclareSectors tells that files are on paths, at most MaxDeclare of
	// them; repeating it is safe. One path that is unknown, or that the caller has not
	// attached, refuses all with *ErrNotFound.
	StorageDeclareSectors(ctx context.Context, files []SectorFile) error //perm:worker
	// StorageDropSectors tells that files are not on paths any more, at most
	// MaxDeclare of them; repeating it is safe. No file is deleted.
	StorageDropSectors(ctx context.Context, files []SectorFile) error //perm:worker
	// StorageFindSector lists where a file kind is; empty when nowhere. Callers
	// without permission worker find unsealed files only, others are *ErrPermission.
	StorageFindSector(ctx context.Context, s abi.SectorID, t FileType) ([]SectorLocationInfo, error) //perm:storage-read
	// StorageFileBearer makes a bearer for one file at one address that
	// StorageFindSector gave: for reading it or for deleting it, for some minutes.
	// Callers without permission worker get it for reading unsealed files only.
	// *ErrNotFound for an address of a process that this node does not know.
	StorageFileBearer(ctx context.Context, use FileUse) (FileBearer, error) //perm:storage-read
	// StorageFileKey is the public key with which processes that serve sector files
	// check such bearers.
	StorageFileKey(ctx context.Context) (FileKey, error) //perm:worker
	// StorageBestAlloc lists paths that can take new files, best first.
	StorageBestAlloc(ctx context.Context, t FileType, size abi.SectorSize, sealing bool) ([]StoragePath, error) //perm:worker
	// StorageAddLocal attaches a directory to the process that is asked.
	StorageAddLocal(ctx context.Context, path string) error //perm:admin
	// StorageDetachLocal detaches a path from the process that is asked and forgets
	// it in storage.json; its files stay. *ErrBusy while work on it is under way.
	StorageDetachLocal(ctx context.Context, id StorageID) error //perm:admin
}

// Storage is the whole sector storage subsystem: what one process serves of it.
// Whoever uses it asks for a role, or for less.
type Storage interface {
	Index
	Leases
	Tasks
	Fleet
	Prover
}
