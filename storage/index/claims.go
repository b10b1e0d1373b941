package index

import (
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// HoldFor gives the files of a sector to a claimed task until Release. Whose a
// task is the claim decides, so this lease has no time of its own. Who only reads
// does not keep a task waiting; a writer outside of tasks does, and is named with
// the time at which its lease ends. A task that has the files has them.
func (x *Index) HoldFor(task api.UUID, r api.LockRequest) (blocker string, until time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.dropOver(r.Sector)
	for _, l := range x.locks.leases[r.Sector] {
		if l.id != task && l.Write != 0 && conflicts(l.LockRequest, r) {
			return l.String(), l.expires
		}
	}
	if x.locks.byID[task] == nil {
		x.grant(&lease{LockRequest: r, id: task})
	}
	return "", time.Time{}
}

// Release takes the files back from a task; one that has none is no error.
func (x *Index) Release(task api.UUID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if l := x.locks.byID[task]; l != nil {
		x.release(l)
	}
}

// dropOver forgets the leases of a sector that ran out.
func (x *Index) dropOver(s abi.SectorID) {
	now := time.Now()
	for _, l := range x.locks.leases[s] {
		if l.over(now) {
			x.release(l)
		}
	}
}

func (x *Index) grant(l *lease) {
	if x.locks.leases[l.Sector] == nil {
		x.locks.leases[l.Sector] = map[api.UUID]*lease{}
	}
	x.locks.leases[l.Sector][l.id] = l
	x.locks.byID[l.id] = l
}
