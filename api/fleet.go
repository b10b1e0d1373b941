package api

import (
	"context"
	"encoding/json"
	"time"
)

// WorkerInfo is what a worker offers.
type WorkerInfo struct {
	ID        UUID // fixed per worker repo
	Session   UUID // new per process start
	Hostname  string
	PID       int    // of the process; for people
	Place     string // machine and repo, which tell a restart from a copy; see holder.Place
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
	Running  []TaskStatus // each as its Summary
}

// HeldTask is a claim that a worker believes it has.
type HeldTask struct {
	Task    UUID
	Attempt int // fencing number: TaskStatus.Attempts when it was claimed
}

// TaskProgress is what a worker says of a task it works on. It keeps the claim.
type TaskProgress struct {
	Worker  UUID
	Task    UUID
	Attempt int
	Stage   string
	Percent float64
	// Spent is how long the worker has computed. A worker whose claim ran out while
	// it could not reach the node gets the task back from one that spent less on it.
	Spent time.Duration
	// Computed says that nothing but publishing is left.
	Computed bool
}

// TaskClaim is the claim as it stands after a progress report.
type TaskClaim struct {
	Attempt int           // the fencing number to use from now on
	Lease   time.Duration // how long the claim holds without another report
}

// TaskReport is a worker's final word on a task. Failure nil means success.
type TaskReport struct {
	Worker  UUID
	Task    UUID
	Attempt int
	Result  json.RawMessage // at most MaxResult bytes; bulk is named by BlobRef
	Failure *Failure
}

// MaxResult bounds a result, in bytes; what is larger goes to Blobs.
const MaxResult = 64 << 10

// Fleet is the queue as workers see it. The claim is the one thing that says
// whose a task is: it is persisted, and it ends when the worker reports, says
// that it does not work on the task any more, or is silent for a whole lease.
type Fleet interface {
	// WorkerClaim registers or refreshes the worker, returns at most one task
	// that fits, and waits up to 20 s for one. Tasks the same worker already
	// holds are not given again; held lists those it still works on, so that
	// anything else it had is free at once.
	WorkerClaim(ctx context.Context, w WorkerInfo, held []HeldTask) (*TaskStatus, error) //perm:worker
	// WorkerProgress keeps a claim; *ErrLeaseLost means that the task belongs to
	// somebody else or has ended: stop, and keep the files.
	WorkerProgress(ctx context.Context, p TaskProgress) (TaskClaim, error) //perm:worker
	// WorkerDone reports the end; safe to repeat. A late report of a task already
	// finished is accepted silently, *ErrLeaseLost says that the task is another's.
	// *ErrInvalid is a refusal for good.
	WorkerDone(ctx context.Context, r TaskReport) error     //perm:worker
	WorkerList(ctx context.Context) ([]WorkerStatus, error) //perm:read
}
