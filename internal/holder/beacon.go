package holder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"
)

// BeaconConfig of a Beacon.
type BeaconConfig struct {
	Path  string        // of the file
	Who   Holder        // for people
	Home  string        // machine and directory, as Home gives it: what comes from there later is a restart
	Every time.Duration // between two signs of life; 0 = 20 s
	// Lost is told, once for each, of another process that has lit a beacon of its own
	// in spite of this one. nil: nobody is told.
	Lost func(holder string)
}

// Beacon is a sign of life in a directory that machines share, for file systems
// whose locks do not reach from one machine to another. The file is written anew
// from time to time; one that was not for three times as long is nobody's. Age is
// told by the clock of the file system, not by those of the machines.
type Beacon struct {
	cfg  BeaconConfig
	self lit
	told map[uuid.UUID]bool
	stop chan struct{}
	done chan struct{}
	off  func() error
}

// lit is what is in the file.
type lit struct {
	Holder   Holder
	Home     string
	Instance uuid.UUID
}

// maxBeacon bounds what is read of a beacon, in bytes.
const maxBeacon = 4 << 10

// releaseTime bounds the wait for a sign of life that hangs.
const releaseTime = 2 * time.Second

// Light lights a beacon and keeps it burning until Release. *ErrHeld says that
// another process's burns; any other error that none can be lit here.
func Light(cfg BeaconConfig) (*Beacon, error) {
	if cfg.Every <= 0 {
		cfg.Every = 20 * time.Second
	}
	if cfg.Lost == nil {
		cfg.Lost = func(string) {}
	}
	b := &Beacon{
		cfg:  cfg,
		self: lit{Holder: cfg.Who, Home: cfg.Home, Instance: uuid.New()},
		told: map[uuid.UUID]bool{},
		stop: make(chan struct{}),
		done: make(chan struct{}),
	}
	other, burns, err := b.look()
	if err != nil {
		return nil, err
	}
	if burns && (other.Home != cfg.Home || cfg.Home == "") {
		return nil, &ErrHeld{Path: cfg.Path, Holder: other.name()}
	}
	if err := b.write(); err != nil {
		return nil, err
	}
	b.off = sync.OnceValue(b.drop)
	go b.burn()
	return b, nil
}

func (l lit) name() string {
	if l.Instance == uuid.Nil {
		return "another process"
	}
	return l.Holder.String()
}

// look tells whose beacon is there, and whether it burns. Own ones burn for nobody.
func (b *Beacon) look() (other lit, burns bool, err error) {
	f, err := os.Open(b.cfg.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return other, false, nil
	}
	if err != nil {
		return other, false, fmt.Errorf("look for a beacon: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return other, false, fmt.Errorf("look for a beacon: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxBeacon))
	if err != nil {
		return other, false, fmt.Errorf("read beacon: %w", err)
	}
	if json.Unmarshal(raw, &other) != nil { // torn, or of another release: it counts by its age
		other = lit{}
	}
	if other.Instance == b.self.Instance {
		return other, false, nil
	}
	now, err := b.fileTime()
	if err != nil {
		return other, false, err
	}
	return other, now.Sub(st.ModTime()) < 3*b.cfg.Every, nil
}

// fileTime is the time by the clock of the file system.
func (b *Beacon) fileTime() (time.Time, error) {
	tmp := b.temp()
	defer os.Remove(tmp) // the next write takes it
	if err := os.WriteFile(tmp, nil, 0o600); err != nil {
		return time.Time{}, fmt.Errorf("ask for the time of a file system: %w", err)
	}
	st, err := os.Stat(tmp)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask for the time of a file system: %w", err)
	}
	return st.ModTime(), nil
}

func (b *Beacon) temp() string { return b.cfg.Path + "." + b.self.Instance.String() }

func (b *Beacon) write() error {
	raw, err := json.Marshal(b.self)
	if err != nil {
		return err
	}
	tmp := b.temp()
	if err := os.WriteFile(tmp, raw, 0o644); err != nil { // others are to read it
		return fmt.Errorf("light a beacon: %w", err)
	}
	if err := os.Rename(tmp, b.cfg.Path); err != nil {
		return errors.Join(fmt.Errorf("light a beacon: %w", err), os.Remove(tmp))
	}
	return nil
}

func (b *Beacon) burn() {
	defer close(b.done)
	tick := time.NewTicker(b.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-tick.C:
			b.renew()
		}
	}
}

// renew is one sign of life. Another's beacon is left alone while it burns. That a
// disk is away for a while is told by whoever reads from it.
func (b *Beacon) renew() {
	other, burns, err := b.look()
	switch {
	case err != nil:
	case !burns:
		_ = b.write() // tried again at the next sign
	case !b.told[other.Instance]:
		b.told[other.Instance] = true
		b.cfg.Lost(other.name())
	}
}

// Release puts the beacon out. It is safe to repeat.
func (b *Beacon) Release() error { return b.off() }

func (b *Beacon) drop() error {
	close(b.stop)
	t := time.NewTimer(releaseTime)
	defer t.Stop()
	select {
	case <-b.done:
	case <-t.C: // the disk hangs: the beacon goes out by itself
		return fmt.Errorf("put out %s: the last sign of life has not returned", b.cfg.Path)
	}
	raw, err := os.ReadFile(b.cfg.Path)
	var at lit
	if err != nil || json.Unmarshal(raw, &at) != nil || at.Instance != b.self.Instance {
		return nil // not ours
	}
	return os.Remove(b.cfg.Path)
}
