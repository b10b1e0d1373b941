package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"

	"quarry/internal/testnet"
)

// The soak is worth what its checks find: each kind of loss is found in what
// processes say, and nothing else is taken for one.
func TestComputingDoneTwiceIsFound(t *testing.T) {
	one, two := &testnet.Proc{Name: "one"}, &testnet.Proc{Name: "two"}
	const pc1, other = "s-t01000-7/PC1/aa", "s-t01000-7/PC1/bb"
	at := func(s int, p *testnet.Proc, what, key string) event {
		return event{at: time.Unix(int64(s), 0), proc: p, what: what, key: key}
	}
	for _, c := range []struct {
		name  string
		said  []event
		kills []int // of process one, seconds
		want  string
	}{
		{"once", []event{at(1, one, "begins", pc1), at(9, one, "done", pc1)}, nil, ""},
		{"done, and again elsewhere", []event{at(1, one, "begins", pc1), at(9, one, "done", pc1), at(40, two, "begins", pc1)}, nil,
			"had finished it"},
		{"done, killed long after, and again", []event{at(1, one, "begins", pc1), at(9, one, "done", pc1),
			at(40, one, "begins", pc1)}, []int{20}, "had finished it"},
		{"done, killed before it was kept, and again", []event{at(1, one, "begins", pc1), at(9, one, "done", pc1),
			at(40, one, "begins", pc1)}, []int{19}, ""},
		{"begun, and by another too", []event{at(1, one, "begins", pc1), at(5, two, "begins", pc1)}, nil, "lived on"},
		{"begun, killed, begun again", []event{at(1, one, "begins", pc1), at(5, one, "begins", pc1), at(9, one, "done", pc1)},
			[]int{3}, ""},
		{"killed before it began", []event{at(4, one, "begins", pc1), at(5, one, "begins", pc1)}, []int{3}, "lived on"},
		{"failed, and again", []event{at(1, one, "begins", pc1), at(2, one, "failed", pc1), at(5, two, "begins", pc1),
			at(9, two, "done", pc1)}, nil, ""},
		{"for another ticket", []event{at(1, one, "begins", pc1), at(2, one, "done", pc1), at(5, one, "begins", other),
			at(9, one, "done", other)}, nil, "another ticket"},
		{"lines out of order", []event{at(9, one, "done", pc1), at(1, one, "begins", pc1)}, nil, ""},
		{"what takes no time", []event{at(1, one, "done", "s-t01000-7/FIN"), at(30, one, "begins", "s-t01000-7/FIN")}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := redone(c.said, func(p *testnet.Proc, from, to time.Time) bool {
				for _, k := range c.kills {
					if m := time.Unix(int64(k), 0); p == one && !m.Before(from) && !m.After(to) {
						return true
					}
				}
				return false
			})
			switch {
			case c.want == "" && err != nil:
				t.Errorf("complains: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("found %v, want %q", err, c.want)
			}
		})
	}
}

// What processes print is read as they print it, with and without quotes.
func TestLinesOfWorkersAreRead(t *testing.T) {
	sup := testnet.NewSupervisor(t.TempDir())
	text := `time=2026-01-02T03:04:05.678Z level=INFO msg="task begins" part=worker task=s-t01000-7/PC1/aa type=PC1 sector=s-t01000-7` +
		` attempt=1
time=2026-01-02T03:04:06Z level=ERROR msg="task failed" part=worker task="s-t01000-7/PC1/aa" retryable=true err="it said task=x"
time=2026-01-02T03:04:07Z level=INFO msg="something else" task=s-t01000-7/PC1/aa
panic: no line of a log
time=2026-01-02T03:04:08+01:00 level=INFO msg="task done" task=s-t01000-7/PC2/aa took=3ms`
	echo, err := exec.LookPath("echo")
	if err != nil {
		t.Fatal(err)
	}
	p, err := sup.Start("one", echo, []string{text}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ended, err := p.Exited(t.Context()); !ended || err != nil {
		t.Fatal(ended, err)
	}
	got, err := events(p)
	if err != nil || len(got) != 3 {
		t.Fatalf("%d events, %v", len(got), err)
	}
	for i, want := range []event{{what: "begins", key: "s-t01000-7/PC1/aa"}, {what: "failed", key: "s-t01000-7/PC1/aa"},
		{what: "done", key: "s-t01000-7/PC2/aa"}} {
		if got[i].what != want.what || got[i].key != want.key || got[i].proc != p {
			t.Errorf("event %d is %+v", i, got[i])
		}
	}
	if d := got[1].at.Sub(got[0].at); d != 322*time.Millisecond {
		t.Errorf("%s between the first two", d)
	}
}

func TestFaultsOfHealthySectorsAreFound(t *testing.T) {
	r := &run{sick: map[abi.SectorNumber]bool{3: true}}
	if err := r.unharmed(map[abi.SectorNumber]abi.ChainEpoch{3: 10}); err != nil {
		t.Errorf("a sector on a harmed disk: %v", err)
	}
	err := r.unharmed(map[abi.SectorNumber]abi.ChainEpoch{3: 10, 4: 20})
	if err == nil || err.Error() != "sector 4, which is healthy, was faulty at epoch 20" {
		t.Errorf("a healthy one: %v", err)
	}
}

func TestOpeningsOfDeadlines(t *testing.T) {
	info := &dline.Info{CurrentEpoch: 160, PeriodStart: 40, WPoStProvingPeriod: 2880, WPoStChallengeWindow: 60}
	for index, want := range map[uint64]abi.ChainEpoch{0: 2920, 1: 2980, 2: 3040, 3: 220, 47: 2860} {
		if got := opens(info, index); got != want {
			t.Errorf("deadline %d opens at %d, want %d", index, got, want)
		}
	}
}

// mayMount leaves a test out where nobody may mount; any other error is a fault.
func mayMount(t *testing.T, err error) {
	t.Helper()
	var cannot *cannotRun
	if errors.As(err, &cannot) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A directory that hangs is looked at by somebody else, and heals.
func TestHungDirectoryHangsAndHeals(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	if err := os.WriteFile(name, []byte("here"), 0o600); err != nil {
		t.Fatal(err)
	}
	heal, err := hang(dir)
	mayMount(t, err)
	cmd := exec.Command("cat", name)
	if err := cmd.Start(); err != nil {
		t.Error(err)
	}
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	select {
	case err := <-gone:
		t.Errorf("reading a hung file ended: %v", err)
	case <-time.After(100 * time.Millisecond): // that nothing happens cannot be waited for
	}
	if err := heal(); err != nil {
		t.Fatal(err)
	}
	if err := <-gone; err == nil {
		t.Error("who had hung was given the file")
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != "here" {
		t.Errorf("after the healing: %q, %v", b, err)
	}
}

// Nothing may be written into a mount point, and what was on the disk comes back
// with it.
func TestDiskGoesAndComesBack(t *testing.T) {
	d, err := newDisk(t.TempDir())
	mayMount(t, err)
	defer d.close()
	name := filepath.Join(d.at, "file")
	if err := os.WriteFile(name, []byte("here"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.unmount(); err != nil {
		t.Fatal(err)
	}
	if err := d.untouched(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.untouched(); err == nil {
		t.Error("a file in the mount point was not seen")
	}
	if err := d.mount(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != "here" {
		t.Errorf("mounted again: %q, %v", b, err)
	}
}

// A copy keeps the modes: a repo whose secrets all can read is refused for that.
func TestCopyOfARepo(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	if err := os.Mkdir(filepath.Join(from, "keystore"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(from, "keystore", "key"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := copyRepo(to, from); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"keystore": 0o700, "keystore/key": 0o600} {
		if st, err := os.Stat(filepath.Join(to, name)); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(to, "keystore", "key")); err != nil || string(b) != "secret" {
		t.Errorf("%q, %v", b, err)
	}
}

// What a killed run left mounted does not keep the next one from starting.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	_, err := newDisk(dir)
	mayMount(t, err)
	if _, err := hang(filepath.Join(dir, "disk")); err != nil {
		t.Log(err)
	}
	leftovers(dir)
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}
