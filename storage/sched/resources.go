package sched

import (
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/proofs/porep"
	"quarry/proofs/update"
)

// Resources is what a task takes, or several together.
type Resources struct {
	MemBytes uint64 // working set
	Threads  int    // cores kept busy; 0 = hardly any
	Wide     int    // tasks that spread over every core there is
	Count    int    // tasks
}

const mib = 1 << 20

// What a process takes beside the working set of a task: heap not collected yet,
// and large pages that are only partly filled (measured with 512 MiB sectors).
const (
	smallMargin = 16 * mib
	largeMargin = 384 * mib
)

// mostCores bounds the estimate for tasks whose memory grows with the cores: the
// queue does not know who will take them.
const mostCores = 64

// stated is what the proofs say they need, with the margin of the sector's size.
func stated(size abi.SectorSize, need uint64, err error) (uint64, error) {
	margin := uint64(smallMargin)
	if size >= 512*mib {
		margin = largeMargin
	}
	return need + margin, err
}

// memoryOf is the working set of a task that is no Groth16 proof.
func memoryOf(t api.TaskType, p abi.RegisteredSealProof, size abi.SectorSize) (uint64, error) {
	switch t {
	case api.TaskPreCommit1, api.TaskUnseal:
		n, err := porep.PreCommit1Memory(p, 1)
		return stated(size, n, err)
	case api.TaskPreCommit2:
		n, err := porep.PreCommit2Memory(p, mostCores)
		if err == nil && porep.Synthetic(p) {
			var more uint64
			more, err = porep.SynthesizeMemory(p, mostCores)
			n = max(n, more)
		}
		return stated(size, n, err)
	case api.TaskCommit1:
		n, err := porep.ProveMemory(p)
		return stated(size, n, err)
	}
	u, err := p.RegisteredUpdateProof()
	if err != nil {
		return 0, err
	}
	var n uint64
	switch t {
	case api.TaskUpdate:
		n, err = update.Memory(u, mostCores)
	case api.TaskProveUpdate1:
		n, err = update.ProveMemory(u)
	}
	return stated(size, n, err)
}

// groth16Memory is per sector size, for C2 and PR2: twice what
// groth16.MemoryEstimate says of the larger of the two circuits, because the
// collector lets the heap grow to that. Parameters are mapped; what the
// system keeps of them in memory is not counted, it gives that back.
var groth16Memory = map[abi.SectorSize]uint64{
	2 << 10: 2 << 30, 8 << 20: 4 << 30, 512 << 20: 17 << 30, 32 << 30: 34 << 30, 64 << 30: 34 << 30,
}

// Needs is what one task takes; *api.ErrInvalid for a task type or seal proof
// that does not exist.
func Needs(t api.TaskType, p abi.RegisteredSealProof) (Resources, error) {
	size, err := p.SectorSize()
	if err != nil {
		return Resources{}, &api.ErrInvalid{What: fmt.Sprintf("seal proof type %d", p), Reason: "it does not exist"}
	}
	r := Resources{Count: 1}
	switch t {
	case api.TaskFinalize, api.TaskFinalizeUpdate:
		return r, nil
	case api.TaskAddPiece: // a stream
		r.MemBytes, r.Threads = 64*mib, 1
		return r, nil
	case api.TaskCommit2, api.TaskProveUpdate2:
		r.MemBytes, r.Wide = groth16Memory[size], 1
		return r, nil
	case api.TaskPreCommit1, api.TaskUnseal, api.TaskPreCommit2, api.TaskUpdate:
		r.Threads = 1
	case api.TaskCommit1, api.TaskProveUpdate1: // reads for seconds
	default:
		return Resources{}, &api.ErrInvalid{What: "task type " + string(t), Reason: "it does not exist",
			Hint: "known are AP, PC1, PC2, C1, C2, FIN, UNS, RU, PR1, PR2 and FRU"}
	}
	if r.MemBytes, err = memoryOf(t, p, size); err != nil {
		return Resources{}, &api.ErrInvalid{What: fmt.Sprintf("task %s with seal proof type %d", t, p), Reason: err.Error()}
	}
	return r, nil
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
