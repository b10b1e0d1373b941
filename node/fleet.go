package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"quarry/api"
	"quarry/internal/holder"
	"quarry/storage"
)

// workerSilence is how long a worker that is not heard of keeps its identity.
// Each asks for work at least every 30 s.
const workerSilence = 90 * time.Second

// fleet is sector storage as workers in other processes see it: an identity of a
// worker belongs to one process at a time, since tasks and files do.
type fleet struct {
	*storage.Manager
	workers *holder.Register
}

func newFleet(m *storage.Manager) *fleet {
	return &fleet{Manager: m, workers: holder.NewRegister(holder.RegisterConfig{Silence: workerSilence})}
}

// WorkerClaim implements api.Fleet. A copy of a worker that is alive gets no work
// and is told which process that is; the tasks of the first are not touched.
func (f *fleet) WorkerClaim(ctx context.Context, w api.WorkerInfo, held []api.HeldTask) (*api.TaskStatus, error) {
	who := holder.Claimant{Holder: holder.Holder{PID: w.PID, Host: w.Hostname, Since: time.Now()}, Instance: w.Session, Place: w.Place}
	var used *holder.ErrHeld
	if err := f.workers.Claim(w.ID.String(), who); errors.As(err, &used) {
		return nil, &api.ErrInUse{What: "the identity of worker " + w.ID.String(), Holder: used.Holder,
			Hint: fmt.Sprintf("one of the two runs on a copy of the other's repo: stop one, and give it a repo of its own; it is forgotten when it was silent for %s", f.workers.Silence())}
	}
	return f.Manager.WorkerClaim(ctx, w, held) // which refuses a worker without an identity
}
