package sched

import (
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// Resources is what a task takes, or several together.
type Resources struct {
	MemBytes uint64 // working set
	Threads  int    // cores kept busy; 0 = hardly any
	Wide     int    // tasks that spread over every core there is
	Count    int    // tasks
}

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// memory is per sector size: AP, PC1 and UNS, PC2, C1. Figures from lotus
// storiface/resources.go, minimum plus base memory.
var memory = map[abi.SectorSize][4]uint64{
	2 * kib:   {2 * kib, 2 * kib, 2 * kib, 2 * kib},
	8 * mib:   {8 * mib, 24 * mib, 24 * mib, 8 * mib},
	512 * mib: {2 * gib, 1100 * mib, 2 * gib, 2 * gib},
	32 * gib:  {5 * gib, 56*gib + 10*mib, 16 * gib, 2 * gib},
	64 * gib:  {9 * gib, 112*gib + 10*mib, 31 * gib, 2 * gib},
}

// groth16Memory is per sector size: C2 and PR2. The prover holds the assignment, three
// evaluations over the domain and the tables of a multi-exponentiation; the
// parameters are mapped and count as far as lotus storiface/resources.go counts
// them (minimum plus base memory of C2) for the large sizes.
var groth16Memory = map[abi.SectorSize]uint64{
	2 * kib: 2 * gib, 8 * mib: 3 * gib, 512 * mib: 11 * gib, 32 * gib: 62 * gib, 64 * gib: 124 * gib,
}

// Needs is what one task takes; *api.ErrInvalid for a task type or seal proof
// that does not exist.
func Needs(t api.TaskType, p abi.RegisteredSealProof) (Resources, error) {
	size, err := p.SectorSize()
	if err != nil {
		return Resources{}, &api.ErrInvalid{What: fmt.Sprintf("seal proof type %d", p), Reason: "it does not exist"}
	}
	m := memory[size]
	switch t {
	case api.TaskAddPiece:
		return Resources{MemBytes: m[0], Threads: 1, Count: 1}, nil
	case api.TaskPreCommit1, api.TaskUnseal:
		return Resources{MemBytes: m[1], Threads: 1, Count: 1}, nil
	case api.TaskPreCommit2:
		return Resources{MemBytes: m[2], Threads: 1, Count: 1}, nil
	case api.TaskCommit1:
		return Resources{MemBytes: m[3], Threads: 0, Count: 1}, nil
	case api.TaskUpdate: // tree-d and tree-r-last, as in PC2
		return Resources{MemBytes: m[2], Threads: 1, Count: 1}, nil
	case api.TaskProveUpdate1:
		return Resources{MemBytes: m[3], Threads: 0, Count: 1}, nil
	case api.TaskCommit2, api.TaskProveUpdate2:
		return Resources{MemBytes: groth16Memory[size], Wide: 1, Count: 1}, nil
	case api.TaskFinalize, api.TaskFinalizeUpdate:
		return Resources{MemBytes: 0, Threads: 0, Count: 1}, nil
	}
	return Resources{}, &api.ErrInvalid{What: "task type " + string(t), Reason: "it does not exist", Hint: "known are AP, PC1, PC2, C1, C2, FIN, UNS, RU, PR1, PR2 and FRU"}
}

func (r *Resources) add(o Resources) {
	r.MemBytes += o.MemBytes
	r.Threads += o.Threads
	r.Wide += o.Wide
	r.Count += o.Count
}

// cores is what the tasks are reckoned to keep busy of cpus: a wide one half of
// them, because it goes on with fewer.
func (r Resources) cores(cpus int) int { return r.Threads + r.Wide*((cpus+1)/2) }

// fits tells whether the worker has room for r beside used. A worker that does
// not say what it has takes one task per core class at a time; a worker with no
// task at all is never refused for cores. There is one wide task at a time.
func (r Resources) fits(used Resources, w api.WorkerInfo) bool {
	if w.MemBytes > 0 && (used.MemBytes > w.MemBytes || r.MemBytes > w.MemBytes-used.MemBytes) {
		return false
	}
	cpus := max(w.CPUs, 1)
	need, busy := r.cores(cpus), used.cores(cpus)
	return need == 0 || busy == 0 || used.Wide+r.Wide <= 1 && need+busy <= cpus
}
