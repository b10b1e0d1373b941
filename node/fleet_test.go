package node

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"

	"quarry/api"
	"quarry/internal/holder"
)

// Two processes on copies of a worker's repo: the second gets no work and is told
// of the first; a restart of the first and another worker get theirs. A worker
// without an identity is refused as ever.
func TestOneIdentityOfAWorker(t *testing.T) {
	set := privateSettings(t, fakeNode(t), "127.0.0.1:0")
	token := tokenFor(t, set.RepoDir, api.RoleWorker, "")
	p := start(t, set)
	p.MinerAPI = dial(t, token+":"+p.addr)
	first := api.WorkerInfo{
		ID:        uuid.New(),
		Session:   uuid.New(),
		Hostname:  "alpha",
		PID:       11,
		Place:     holder.Place("/a"),
		TaskTypes: []api.TaskType{api.TaskAddPiece},
	}
	second, restart, other := first, first, first
	second.Session, second.Hostname, second.PID, second.Place = uuid.New(), "beta", 12, holder.Place("/b")
	restart.Session, restart.PID = uuid.New(), 13
	other.ID, other.Session = uuid.New(), uuid.New()
	f := p.MinerAPI
	ask := func(w api.WorkerInfo) error {
		ctx, cancel := context.WithCancel(t.Context())
		answer := make(chan error, 1)
		go func() {
			_, err := f.WorkerClaim(ctx, w, nil)
			answer <- err
		}()
		// A claim that is taken waits for a task; that it was taken shows in the list.
		var err error
		eventually(t, "the claim is answered or waits", func() bool {
			select {
			case err = <-answer:
				answer <- err
				return true
			default:
			}
			list, lerr := f.WorkerList(t.Context())
			if lerr != nil {
				t.Fatal(lerr)
			}
			for _, k := range list {
				if k.ID == w.ID && k.Session == w.Session {
					return true
				}
			}
			return false
		})
		cancel()
		<-answer
		return err
	}
	if err := ask(first); err != nil {
		t.Fatal(err)
	}
	var used *api.ErrInUse
	if err := ask(second); !errors.As(err, &used) || !strings.HasPrefix(used.Holder, "process 11 on alpha since ") ||
		!strings.Contains(err.Error(), first.ID.String()) {
		t.Errorf("a copy: %v", err)
	}
	for name, w := range map[string]api.WorkerInfo{"the first": first, "another": other} {
		if err := ask(w); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := ask(restart); err != nil {
		t.Errorf("a restart: %v", err)
	}
	if err := ask(second); !errors.As(err, &used) || !strings.HasPrefix(used.Holder, "process 13 on alpha") {
		t.Errorf("the copy after a restart: %v", err)
	}
	var invalid *api.ErrInvalid
	if err := ask(api.WorkerInfo{Hostname: "x"}); !errors.As(err, &invalid) {
		t.Errorf("no identity: %v", err)
	}
}
