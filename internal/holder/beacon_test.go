package holder

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func light(path, home string) (*Beacon, error) {
	who := Holder{PID: 7, Host: home, Since: time.Unix(0, 0), What: "repo /r"}
	return Light(BeaconConfig{Path: path, Who: who, Home: home, Every: time.Hour})
}

// A beacon that burns keeps other machines away and names who it is; a restart from
// the same place is let in.
func TestBeaconOfAnotherMachine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "beacon")
	first, err := light(path, "a")
	if err != nil {
		t.Fatal(err)
	}
	var held *ErrHeld
	for _, home := range []string{"b", ""} {
		_, err := light(path, home)
		if !errors.As(err, &held) || held.Path != path || held.Holder != "process 7 on a since 1970-01-01T00:00:00Z (repo /r)" {
			t.Fatalf("%q came in: %v", home, err)
		}
	}
	again, err := light(path, "a")
	if err != nil {
		t.Fatalf("a restart is refused: %v", err)
	}
	if err := first.Release(); err != nil {
		t.Error(err)
	}
	if _, err := light(path, "b"); !errors.As(err, &held) {
		t.Errorf("the first put out the beacon of the second: %v", err)
	}
	for range 2 {
		if err := again.Release(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("it still burns: %v", err)
	}
}

// One that was not seen for three of its signs of life is nobody's.
func TestBeaconThatIsOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "beacon")
	other, err := light(path, "b")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		age     time.Duration
		refused bool
	}{{3*time.Hour - time.Minute, true}, {3*time.Hour + time.Minute, false}} {
		at := time.Now().Add(-c.age)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		b, err := light(path, "c")
		if (err != nil) != c.refused {
			t.Errorf("after %s: %v", c.age, err)
		}
		if b != nil {
			defer b.Release() // the directory goes
		}
	}
	if err := other.Release(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// One whose beacon was taken by another tells it once, leaves the other's alone
// while it burns, and lights its own again when that is out.
func TestBeaconThatWasTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "beacon")
	var told []string
	b, err := Light(BeaconConfig{
		Path:  path,
		Who:   Self("ours"),
		Home:  "a",
		Every: time.Hour,
		Lost:  func(h string) { told = append(told, h) },
	})
	if err != nil {
		t.Fatal(err)
	}
	mine := func() bool {
		raw, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(raw), b.self.Instance.String())
	}
	b.renew()
	if !mine() || len(told) != 0 {
		t.Fatalf("told %v", told)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if b.renew(); !mine() {
		t.Error("it was not lit again")
	}
	theirs := `{"Holder":{"PID":9,"Host":"far\u001b[2J","Since":"2024-01-02T03:04:05Z"},"Home":"b",` +
		`"Instance":"7d444840-9dc0-11d1-b245-5ffdce74fad2"}`
	if err := os.WriteFile(path, []byte(theirs), 0o600); err != nil {
		t.Fatal(err)
	}
	b.renew()
	b.renew()
	if mine() || len(told) != 1 || told[0] != "process 9 on far\\x1b[2J since 2024-01-02T03:04:05Z" {
		t.Errorf("told %q", told)
	}
	if err := os.WriteFile(path, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.renew()
	if mine() || len(told) != 2 || told[1] != "another process" {
		t.Errorf("told %q", told)
	}
	at := time.Now().Add(-4 * time.Hour)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
	if b.renew(); !mine() || b.Release() != nil {
		t.Error("one that is out was left alone")
	}
}

// Where nothing can be written none is lit, and it is no holder that says so.
func TestBeaconWithoutAPlace(t *testing.T) {
	_, err := Light(BeaconConfig{Path: filepath.Join(t.TempDir(), "gone", "beacon"), Home: "a"})
	var held *ErrHeld
	if err == nil || errors.As(err, &held) {
		t.Errorf("got %v", err)
	}
}

// A home is that of a machine and a directory, and outlives a boot.
func TestHome(t *testing.T) {
	if Home("/a") == Home("/b") || Home("/a") != Home("/a") || len(Home("/a")) != 32 {
		t.Errorf("%q, %q", Home("/a"), Home("/b"))
	}
	if Home("/a") == Place("/a") {
		t.Error("a home is no place")
	}
}
