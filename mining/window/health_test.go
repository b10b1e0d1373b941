package window

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// declaredBy runs a simulation for some epochs and gives what was declared, sorted,
// with the log.
func (s *sim) declaredBy(t *testing.T, epochs int) (declared []string, status api.ProvingStatus, log string) {
	t.Helper()
	var out bytes.Buffer
	s.log = slog.New(slog.NewTextHandler(&out, nil))
	p := s.start(t, memory())
	s.tick(epochs)
	p.stop()
	slices.Sort(s.declared)
	return s.declared, p.Status(), out.String()
}

// Which faults are declared beforehand, by what the prover says of the sectors and
// of itself. Sectors 0 to 3 are live and good on chain; 0 and 1 can be read.
func TestOnlyFaultsBeyondDoubtAreDeclared(t *testing.T) {
	well := api.ProverState{Opened: true, Readable: 2, Paths: []api.StorageID{"a"}}
	hung := api.ProverState{Opened: true, Readable: 2, Paths: []api.StorageID{"a"}, Hung: []api.HungPath{{Path: "/mnt/b"}}}
	closed := api.ProverState{Unopened: []string{"/mnt/b"}, Readable: 2, Paths: []api.StorageID{"a"}}
	blind := api.ProverState{Opened: true, Paths: []api.StorageID{"a"}}
	all := func(r api.FaultReason) map[uint64]api.FaultReason {
		return map[uint64]api.FaultReason{0: r, 1: r, 2: r, 3: r}
	}
	two := func(r api.FaultReason) map[uint64]api.FaultReason { return map[uint64]api.FaultReason{2: r, 3: r} }
	const yes, everything = "faulty 4/0 [2 3]", "faulty 4/0 [0 1 2 3]"
	for name, c := range map[string]struct {
		broken map[uint64]api.FaultReason
		state  api.ProverState
		want   string
		alert  string
	}{
		"missing":                       {two(api.FaultMissing), well, yes, ""},
		"damaged":                       {two(api.FaultDamaged), well, yes, ""},
		"files of another seal":         {two(api.FaultOtherSeal), well, yes, ""},
		"unreadable":                    {two(api.FaultUnreadable), well, "", ""},
		"hung":                          {two(api.FaultHung), well, "", ""},
		"slow":                          {two(api.FaultSlow), well, "", ""},
		"away":                          {two(api.FaultAway), well, "", ""},
		"missing while a path hangs":    {two(api.FaultMissing), hung, "", ""},
		"damaged while another path is": {two(api.FaultDamaged), hung, yes, ""},
		"missing, a path never opened": {two(api.FaultMissing), closed, "",
			"not every configured storage path was opened since the start: /mnt/b"},
		"damaged, a path never opened": {two(api.FaultDamaged), closed, "",
			"not every configured storage path was opened since the start: /mnt/b"},
		"nothing there at all":            {all(api.FaultMissing), well, "", "not one sector of the deadline can be read here"},
		"nothing read since the start":    {two(api.FaultDamaged), blind, "", "not one sector could be read since the start"},
		"all damaged, but they were read": {all(api.FaultDamaged), well, everything, ""},
		"nothing wrong, a path not open":  {nil, closed, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t)
				s.partition(4, []uint64{0, 1, 2, 3}, nil, nil, nil)
				s.broken, s.state = c.broken, &c.state
				declared, st, log := s.declaredBy(t, 30)
				if got := strings.Join(declared, ", "); got != c.want {
					t.Errorf("declared %q, want %q", got, c.want)
				}
				if alerts := strings.Join(st.Alerts, "\n"); c.alert == "" && alerts != "" || !strings.Contains(alerts, c.alert) {
					t.Errorf("alerts %q, want %q", alerts, c.alert)
				}
				if loud := strings.Contains(log, "level=ERROR") && strings.Contains(log, "PROVING IS IN DANGER"); loud != (c.alert != "") {
					t.Errorf("loud is %v:\n%s", loud, log)
				}
				if len(st.Unreadable) != len(c.broken) {
					t.Errorf("%d unreadable sectors in the status, want %d", len(st.Unreadable), len(c.broken))
				}
			})
		})
	}
}

// What is faulty on chain already is neither declared again nor counted as news.
func TestKnownFaultsAreNotDeclaredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.partition(4, []uint64{0, 1, 2}, nil, []uint64{1, 2}, []uint64{2})
		s.broken[1], s.broken[2] = api.FaultDamaged, api.FaultDamaged
		declared, _, _ := s.declaredBy(t, 30)
		if len(declared) != 0 {
			t.Errorf("declared %v", declared)
		}
		for _, c := range s.checks {
			for _, r := range c.Sectors {
				if r.Number == 2 || r.Thorough != (r.Number == 1) || r.SealProof != simSeal || c.Miner != 1000 {
					t.Errorf("checked %+v of miner %d", r, c.Miner)
				}
			}
		}
	})
}

// A path that was seen before a restart and is not attached since may hold what is
// missing. After a whole proving period it is forgotten.
func TestMissingFilesMayBeOnAPathNotAttachedYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.partition(4, []uint64{0, 1}, nil, nil, nil)
		s.state = &api.ProverState{Opened: true, Readable: 1, Paths: []api.StorageID{"a", "far"}}
		store := memory()
		p := s.start(t, store)
		s.tick(5)
		p.stop()
		s.state = &api.ProverState{Opened: true, Readable: 1, Paths: []api.StorageID{"a"}}
		s.broken[1] = api.FaultMissing
		p = s.start(t, store)
		s.tick(25)
		if len(s.declared) != 0 {
			t.Fatalf("declared %v while a path is away", s.declared)
		}
		p.stop()
	})
	b, err := openBook(t.Context(), memory())
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		now    []api.StorageID
		height abi.ChainEpoch
		want   string
	}{
		{[]api.StorageID{"a", "b"}, 10, ""}, {[]api.StorageID{"b"}, 20, "a"}, {nil, 70, "a b"}, {nil, 71, "b"}, {[]api.StorageID{"a"},
			80, "b"}, {[]api.StorageID{"a"}, 81, ""},
	} {
		gone, err := b.absent(t.Context(), step.now, step.height, simPeriod)
		var got []string
		for _, g := range gone {
			got = append(got, string(g))
		}
		if err != nil || strings.Join(got, " ") != step.want {
			t.Errorf("at %d: %v, %v; want %s", step.height, gone, err, step.want)
		}
	}
	if err := b.store.Put(t.Context(), pathsKey, []byte("{")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.absent(t.Context(), nil, 1, 1); err == nil {
		t.Error("a damaged row was taken")
	}
}

// A storage or a node that cannot be asked is asked again until the cutoff.
func TestDeclaringIsRepeatedUntilTheCutoff(t *testing.T) {
	for name, trouble := range map[string]func(*sim){
		"the storage restarts": func(s *sim) { s.failChecks = 5 },
		"the node is away":     func(s *sim) { s.failReads = 12 },
		"sending fails":        func(s *sim) { s.failSends, s.sendError = 5, &api.ErrUnreachable{Peer: "node"} },
		"never":                func(s *sim) { s.failChecks = 1 << 30 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t)
				s.partition(4, []uint64{0, 1, 2}, nil, []uint64{2}, nil)
				s.broken[1] = api.FaultDamaged
				trouble(s)
				var out bytes.Buffer
				s.log = slog.New(slog.NewTextHandler(&out, nil))
				p := s.start(t, memory())
				for range 30 {
					s.tick(1)
					s.pauses()
				}
				p.stop()
				want := 2
				if name == "never" {
					want = 0
				}
				if len(s.declared) != want {
					t.Errorf("declared %v", s.declared)
				}
				if late := strings.Contains(out.String(), "were not declared in time"); late != (name == "never") {
					t.Errorf("told of the cutoff: %v", late)
				}
			})
		})
	}
}
