package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
)

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
	Params   json.RawMessage `json:",omitempty"` // written and read by a Task only
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
	ETA       time.Duration   // 0 = unknown
	Attempts  int             // claims granted so far; the fencing number of the last one
	Result    json.RawMessage `json:",omitempty"` // when done; read by a Task only
	Failure   *Failure        // of the last attempt, when there was one
	Waiting   string          // why a queued task is not running: which worker, path or file is missing
	Submitted time.Time
	Updated   time.Time
}

// Final tells whether the task has ended, one way or the other.
func (t TaskStatus) Final() bool { return t.State == TaskDone || t.State == TaskFailed }

// Summary is the task without what goes in and what came out, which hold bearers,
// addresses and bulk: what may be shown to whoever can only read.
func (t TaskStatus) Summary() TaskStatus {
	t.Spec.Params, t.Result = nil, nil
	return t
}

// TaskQuery picks tasks. The zero value asks for the first page of all.
type TaskQuery struct {
	Cursor string        // TaskPage.Next of the page before; empty: from the first on
	Limit  int           // tasks at most; 0: 500, which is the most
	States []TaskState   `json:",omitempty"` // any of these; empty: all
	Types  []TaskType    `json:",omitempty"` // any of these; empty: all
	Sector *abi.SectorID `json:",omitempty"` // of this one only
}

// TaskPage is one page of tasks in the order of their submission, each as its
// Summary. It may hold fewer than were asked for, or none, before the end: one
// page looks at a bounded number of tasks.
type TaskPage struct {
	Tasks []TaskStatus
	Next  string // cursor, empty at the end
}

// Tasks is the durable queue of work on sectors, as those see it who want work
// done.
type Tasks interface {
	// TaskSubmit queues a task, or gives the one of the same key.
	TaskSubmit(ctx context.Context, spec TaskSpec) (TaskStatus, error) //perm:tasks
	// TaskGet gives a task, to callers over the network without permission tasks
	// its Summary only.
	TaskGet(ctx context.Context, id UUID) (TaskStatus, error) //perm:read
	// TaskWait returns when the task is final or ctx ends or 30 s passed,
	// whichever is first, with the status at that moment; a Summary as from TaskGet.
	TaskWait(ctx context.Context, id UUID) (TaskStatus, error) //perm:read
	// TaskList pages through all tasks; each as its Summary.
	TaskList(ctx context.Context, cursor string, limit int) ([]TaskStatus, string, error) //perm:read
	TaskQuery(ctx context.Context, q TaskQuery) (TaskPage, error)                         //perm:read
	// TaskForget drops a final task and its result.
	TaskForget(ctx context.Context, id UUID) error //perm:tasks
	// TaskRetry lets a queued task be tried at once, whatever delay it was given,
	// with all its tries before it. A running or final task is left alone.
	TaskRetry(ctx context.Context, id UUID) error //perm:tasks
	// TaskAbort takes a running task from its worker and queues it again. What was
	// computed of it stays with the worker. A task that is not running is left alone.
	TaskAbort(ctx context.Context, id UUID) error //perm:tasks
	// TaskCancel ends a task that nobody wants any more: it fails, its worker is told
	// so at its next report and stops, and publishes nothing. A final or unknown one is
	// left alone.
	TaskCancel(ctx context.Context, id UUID) error //perm:tasks
	// RemoveSector deletes every file of a sector from every path.
	RemoveSector(ctx context.Context, s abi.SectorID) error //perm:tasks
}
