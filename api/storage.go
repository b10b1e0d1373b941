package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
)

// StorageID is the UUID in sectorstore.json.
type StorageID string

// PathMeta is sectorstore.json, field by field as Lotus writes it.
type PathMeta struct {
	ID         StorageID
	Weight     uint64 // 0 = readonly for new files
	CanSeal    bool
	CanStore   bool
	MaxStorage uint64   // bytes, 0 = no limit
	Groups     []string `json:",omitempty"`
	AllowTo    []string `json:",omitempty"`
}

// FsStat is the state of a path's file system, in bytes.
type FsStat struct {
	Capacity    int64
	Available   int64 // for us, after reservations
	FSAvailable int64 // as the file system says
	Reserved    int64
	Max         int64
	Used        int64
}

// StoragePath is one attached path as the index knows it.
type StoragePath struct {
	PathMeta
	URLs          []string // http(s) bases of processes that serve it, ending in /remote
	Stat          FsStat
	LastHeartbeat time.Time
	HeartbeatErr  string
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
	URLs     []string // full URLs of the file, need a token with storage-read
	Weight   uint64
	CanSeal  bool
	CanStore bool
	Primary  bool
}

// LockRequest asks for a leased lock on files of one sector. Readers share,
// a writer excludes. The lease ends unless renewed within TTL.
type LockRequest struct {
	Sector abi.SectorID
	Read   FileType
	Write  FileType
	Holder string        // printed in errors
	TTL    time.Duration // 0 = 30 s
	Wait   time.Duration // 0 = fail at once with ErrLocked
}

// LockLease is a granted lock.
type LockLease struct {
	ID      UUID
	Expires time.Time
}

// TaskType names a unit of work for a worker; short forms of Lotus.
type TaskType string

// Task types.
const (
	TaskAddPiece   TaskType = "AP"
	TaskPreCommit1 TaskType = "PC1"
	TaskPreCommit2 TaskType = "PC2"
	TaskCommit1    TaskType = "C1" // vanilla proof
	TaskCommit2    TaskType = "C2" // Groth16 proof, needs no sector files
	TaskFinalize   TaskType = "FIN"
	TaskUnseal     TaskType = "UNS"

	TaskUpdate         TaskType = "RU"  // put data into an empty sealed sector
	TaskProveUpdate1   TaskType = "PR1" // vanilla proof of that
	TaskProveUpdate2   TaskType = "PR2" // Groth16 proof of that, needs no sector files
	TaskFinalizeUpdate TaskType = "FRU"
)

// TaskSpec is one keyed unit of work. Submitting the same Key again returns
// the first task, finished or not.
type TaskSpec struct {
	Key      string // unique forever, for example "s-t01000-7/PC1/<ticket hex>"
	Type     TaskType
	Sector   SectorRef
	Params   json.RawMessage // one of the *Params structs below
	Priority int             // higher first
}

// TaskState is where a task stands.
type TaskState string

// Task states. Failed and Done are final; the result is kept until forgotten.
const (
	TaskQueued  TaskState = "queued"
	TaskRunning TaskState = "running"
	TaskDone    TaskState = "done"
	TaskFailed  TaskState = "failed"
)

// TaskStatus is a task with its progress.
type TaskStatus struct {
	ID        UUID
	Spec      TaskSpec
	State     TaskState
	Worker    string // host name and id, while running
	Stage     string
	Percent   float64
	ETA       time.Duration // 0 = unknown
	Attempts  int
	Result    json.RawMessage // one of the *Result structs, when done
	Error     string          // when failed
	Retryable bool            // failed for a reason outside the data (worker gone, disk full)
	Submitted time.Time
	Updated   time.Time
}

// AddPieceParams appends a piece to a sector's unsealed file.
type AddPieceParams struct {
	Existing []abi.PieceInfo // pieces already in the file, in order
	Piece    abi.PieceInfo   // expected commitment and padded size
	Data     DataRef         // zero value: filler of zeros
}

// PreCommit1Params starts sealing. The unsealed file must be complete, or
// absent for a sector of zeros only.
type PreCommit1Params struct {
	Ticket abi.SealRandomness
	Pieces []abi.PieceInfo
}

// PreCommit2Params carries the opaque output of PC1.
type PreCommit2Params struct {
	PreCommit1Out json.RawMessage
}

// PreCommit2Result are the commitments; CIDs are fil-commitment CIDs.
type PreCommit2Result struct {
	SealedCID   CidString
	UnsealedCID CidString
	Commitments json.RawMessage // what Commit1Params wants back
}

// CidString is a CID in its string form.
type CidString string

// Commit1Params asks for the vanilla proof of a sealed sector.
type Commit1Params struct {
	Ticket      abi.SealRandomness
	Seed        abi.InteractiveSealRandomness
	Commitments json.RawMessage
}

// Commit1Result is the vanilla proof blob.
type Commit1Result struct{ Vanilla []byte }

// Commit2Params asks for the Groth16 proof of what a vanilla proof proves. Info
// is what the chain will verify against; its Proof field is empty.
type Commit2Params struct {
	Info    proof.SealVerifyInfo
	Vanilla []byte // as in Commit1Result
}

// Commit2Result is the proof field of the chain's messages: 192 bytes for each
// partition of the seal proof.
type Commit2Result struct{ Proof []byte }

// FinalizeParams drops what proving does not need and moves the sector to
// long-term storage.
type FinalizeParams struct{ KeepUnsealed bool }

// UnsealParams brings back a range of the unsealed file, in padded bytes.
type UnsealParams struct {
	Ticket      abi.SealRandomness
	UnsealedCID CidString
	Offset      abi.PaddedPieceSize
	Size        abi.PaddedPieceSize
	// SectorKeyCID is the sealed CID before the update, for a sector that was
	// updated; UnsealedCID is the one after it.
	SectorKeyCID CidString `json:",omitempty"`
}

// UpdateReplicaParams puts data into an empty sealed sector. The unsealed file
// must be complete.
type UpdateReplicaParams struct{ Pieces []abi.PieceInfo }

// UpdateReplicaResult are the commitments after the update.
type UpdateReplicaResult struct {
	SealedCID   CidString
	UnsealedCID CidString
	Commitments json.RawMessage // what ProveUpdate1Params wants back
}

// ProveUpdate1Params asks for the vanilla proof of an update.
type ProveUpdate1Params struct{ Commitments json.RawMessage }

// ProveUpdate1Result is the vanilla proof blob.
type ProveUpdate1Result struct{ Vanilla []byte }

// ProveUpdate2Params asks for the Groth16 proof of what a vanilla proof proves.
// The Proof field of Info is empty.
type ProveUpdate2Params struct {
	Info    proof.ReplicaUpdateInfo
	Vanilla []byte
}

// ProveUpdate2Result is the proof field of the chain's messages.
type ProveUpdate2Result struct{ Proof []byte }

// FinalizeUpdateParams says what to do with the files of an update.
type FinalizeUpdateParams struct{ Do UpdateFiles }

// UpdateFiles is one of the things that can be done with the files of an update.
type UpdateFiles string

// What FinalizeUpdateParams may ask for.
const (
	UpdateKeep       UpdateFiles = "keep"        // drop what only the proof used, move the rest to long-term storage
	UpdateReleaseKey UpdateFiles = "release-key" // drop the replica from before the update and its cache
	UpdateAbort      UpdateFiles = "abort"       // drop the new replica, its cache and the data
)

// WorkerInfo is what a worker offers.
type WorkerInfo struct {
	ID        UUID // fixed per worker repo
	Session   UUID // new per process start
	Hostname  string
	TaskTypes []TaskType
	MemBytes  uint64
	CPUs      int
	GPUs      []string
	Paths     []StorageID // attached paths
	URL       string      // base of its /remote route, empty when it serves none
}

// WorkerStatus is a worker as the scheduler sees it.
type WorkerStatus struct {
	WorkerInfo
	LastSeen time.Time
	Running  []TaskStatus
}

// Storage is the sector storage subsystem: index, locks, tasks, proofs over
// stored sectors.
type Storage interface {
	// StorageAttach tells the index of a path and the URL under which the caller
	// serves it (may be empty); repeating it refreshes.
	StorageAttach(ctx context.Context, p PathMeta, url string, stat FsStat) error                           //perm:storage-read
	StorageDetach(ctx context.Context, id StorageID, url string) error                                      //perm:storage-read
	StorageReportHealth(ctx context.Context, id StorageID, stat FsStat, errText string) error               //perm:storage-read
	StorageList(ctx context.Context) ([]StoragePath, error)                                                 //perm:read
	StorageGet(ctx context.Context, id StorageID) (StoragePath, error)                                      //perm:read
	StorageFiles(ctx context.Context, id StorageID, cursor string, limit int) ([]SectorFile, string, error) //perm:read
	StorageDeclareSector(ctx context.Context, f SectorFile) error                                           //perm:worker
	StorageDropSector(ctx context.Context, f SectorFile) error                                              //perm:worker
	// StorageFindSector lists where a file kind is; empty when nowhere.
	StorageFindSector(ctx context.Context, s abi.SectorID, t FileType) ([]SectorLocationInfo, error) //perm:storage-read
	// StorageBestAlloc lists paths that can take new files, best first.
	StorageBestAlloc(ctx context.Context, t FileType, size abi.SectorSize, sealing bool) ([]StoragePath, error) //perm:worker
	// StorageAddLocal attaches a directory to the private node itself.
	StorageAddLocal(ctx context.Context, path string) error //perm:admin

	StorageLock(ctx context.Context, r LockRequest) (LockLease, error)                   //perm:storage-read
	StorageRenewLock(ctx context.Context, id UUID, ttl time.Duration) (LockLease, error) //perm:storage-read
	StorageUnlock(ctx context.Context, id UUID) error                                    //perm:storage-read

	TaskSubmit(ctx context.Context, spec TaskSpec) (TaskStatus, error) //perm:admin
	TaskGet(ctx context.Context, id UUID) (TaskStatus, error)          //perm:read
	// TaskWait returns when the task is final or ctx ends or 30 s passed,
	// whichever is first, with the status at that moment.
	TaskWait(ctx context.Context, id UUID) (TaskStatus, error)                            //perm:read
	TaskList(ctx context.Context, cursor string, limit int) ([]TaskStatus, string, error) //perm:read
	// TaskForget drops a final task and its result.
	TaskForget(ctx context.Context, id UUID) error //perm:admin

	// WorkerClaim registers or refreshes the worker, returns at most one task
	// that fits, and waits up to 20 s for one. Tasks the same worker already
	// holds are not given again; running lists those it still works on, so that
	// anything else it held is queued anew.
	WorkerClaim(ctx context.Context, w WorkerInfo, running []UUID) (*TaskStatus, error) //perm:worker
	// WorkerProgress keeps claims alive; ErrLeaseLost means stop working on it.
	WorkerProgress(ctx context.Context, worker UUID, task UUID, stage string, percent float64) error //perm:worker
	// WorkerDone reports the final result; safe to repeat. errText empty =
	// success. A late report of a task already finished is accepted silently.
	WorkerDone(ctx context.Context, worker UUID, task UUID, result json.RawMessage, errText string, retryable bool) error //perm:worker
	WorkerList(ctx context.Context) ([]WorkerStatus, error)                                                               //perm:read

	ProveWindow(ctx context.Context, r WindowPoStRequest) (WindowPoStResult, error) //perm:admin
	ProveWinning(ctx context.Context, r WinningPoStRequest) ([]byte, error)         //perm:admin
	// CheckProvable names sectors that could not be proved now, with the reason.
	CheckProvable(ctx context.Context, r ProvableRequest) (ProvableResult, error) //perm:admin
	// ProverState tells how far the prover can be believed.
	ProverState(ctx context.Context) (ProverState, error) //perm:admin
	// RemoveSector deletes every file of a sector from every path.
	RemoveSector(ctx context.Context, s abi.SectorID) error //perm:admin
}
