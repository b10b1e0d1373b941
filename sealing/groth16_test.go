package sealing

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/filecoin-project/go-state-types/batch"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/api"
)

// judge is a verifier whose first answers are given.
type judge struct {
	mu   sync.Mutex
	says []any // bool or error, then true
	seen []proof.SealVerifyInfo
}

func (j *judge) Seal(_ context.Context, info proof.SealVerifyInfo) (bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seen = append(j.seen, info)
	if len(j.says) == 0 {
		return true, nil
	}
	say := j.says[0]
	j.says = j.says[1:]
	if err, bad := say.(error); bad {
		return false, err
	}
	return say.(bool), nil
}

func (j *judge) Update(ctx context.Context, info proof.ReplicaUpdateInfo) (bool, error) {
	return j.Seal(ctx, proof.SealVerifyInfo{SealedCID: info.NewSealedSectorCID, UnsealedCID: info.NewUnsealedSectorCID, Proof: info.Proof})
}

func groth16Config() Config {
	cfg := testConfig()
	cfg.VanillaAccepted, cfg.Groth16 = false, true
	return cfg
}

func openGroth16(t testing.TB, w *world, j *judge) *Sealing {
	t.Helper()
	w.groth16 = true
	deps := Deps{
		Store:   memStore(),
		Chain:   w,
		Storage: w,
		Heads:   w,
		Msgs:    w,
	}
	if j != nil {
		deps.Verify = j
	}
	s, err := New(groth16Config(), deps)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) count(typ api.TaskType) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, spec := range w.submitted {
		if spec.Type == typ {
			n++
		}
	}
	return n
}

// TestGroth16Setbacks: whatever goes wrong around C2, exactly one commitment
// with a proof of this sector takes effect, no envelope is put on the node, and
// what need not be computed again is not.
func TestGroth16Setbacks(t *testing.T) {
	fails := func(n int) (out []taskFail) {
		for range n {
			out = append(out, taskFail{"no memory", true})
		}
		return out
	}
	illegal := misdeed{codes: []batch.FailCode{{Idx: 0, Code: exitcode.ErrIllegalArgument}}}
	for _, c := range []struct {
		name   string
		spoil  func(*world)
		judge  *judge
		c1, c2 int // tasks submitted
	}{
		{"all goes well", func(*world) {}, nil, 1, 1},
		{"checked", func(*world) {}, &judge{}, 1, 1},
		{"C2 fails", func(w *world) { w.taskFails[api.TaskCommit2] = fails(2) }, nil, 1, 3},
		{"C2 fails until C1 again", func(w *world) { w.taskFails[api.TaskCommit2] = fails(3) }, nil, 2, 4},
		{"the proof made is wrong", func(*world) {}, &judge{says: []any{false, false}}, 1, 3},
		{"the verifier cannot decide", func(*world) {}, &judge{says: []any{errors.New("no key"), errors.New("no key")}}, 1, 1},
		{"the chain refuses it", func(w *world) { w.exits[34] = []misdeed{illegal, illegal} }, nil, 2, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			c.spoil(w)
			s := openGroth16(t, w, c.judge)
			start(t, s)
			id, err := s.PledgeSector(bg)
			if err != nil {
				t.Fatal(err)
			}
			info := untilState(t, s, id.Number, api.SectorProving)
			if got := [2]int{w.count(api.TaskCommit1), w.count(api.TaskCommit2)}; got != [2]int{c.c1, c.c2} {
				t.Errorf("C1 and C2 tasks: %v, want %d and %d", got, c.c1, c.c2)
			}
			if len(w.blobs) != 0 || w.executed[34] != 1 {
				t.Errorf("%d blobs on the node, %d commitments", len(w.blobs), w.executed[34])
			}
			if c.judge != nil {
				seen := c.judge.seen[len(c.judge.seen)-1]
				if seen.SealedCID != *info.CommR || seen.UnsealedCID != *info.CommD || len(seen.Proof) != 192 {
					t.Errorf("checked %+v", seen)
				}
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.checkSpent(t)
		})
	}
}

// TestC2SurvivesARestart: the task goes on without us and is found again.
func TestC2SurvivesARestart(t *testing.T) {
	w := newWorld()
	gate := make(chan struct{})
	w.block[api.TaskCommit2] = gate
	ds := memStore()
	w.groth16 = true
	s := open(t, w, ds, groth16Config())
	stop := start(t, s)
	id, err := s.PledgeSector(bg)
	if err != nil {
		t.Fatal(err)
	}
	until(t, s, id.Number, "proves", func(i api.SectorInfo) bool { return i.Task != nil && i.Task.Spec.Type == api.TaskCommit2 })
	stop()
	s = open(t, w, ds, groth16Config())
	start(t, s)
	close(gate)
	untilState(t, s, id.Number, api.SectorProving)
	if w.count(api.TaskCommit1) != 1 || w.count(api.TaskCommit2) != 1 {
		t.Errorf("tasks submitted: %d C1, %d C2, want one of each", w.count(api.TaskCommit1), w.count(api.TaskCommit2))
	}
	p := w.commits[0].SectorProofs
	if len(p) != 1 || len(p[0]) != 192 || !bytes.Equal(p[0][:64], p[0][64:128]) {
		t.Errorf("proof fields %x", p)
	}
}

func TestNothingStartsWithoutAProofForm(t *testing.T) {
	cfg := testConfig()
	cfg.VanillaAccepted = false
	s := open(t, newWorld(), memStore(), cfg)
	var no *api.ErrUnsupportedProof
	if _, err := s.PledgeSector(bg); !errors.As(err, &no) || no.Hint == "" {
		t.Errorf("got %v, want ErrUnsupportedProof with a hint", err)
	}
}
