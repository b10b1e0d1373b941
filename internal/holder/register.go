package holder

import (
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Claimant is a process that says it is the one with an identity.
type Claimant struct {
	Holder
	Instance uuid.UUID // new at each start
	Place    string    // machine and directory; two processes cannot live in one at once
}

// Register remembers which process is alive under each identity, by what it
// hears. The earlier one stays the holder while it is heard of; a restart takes
// over at once, since it comes from the same place and the earlier one is not
// heard of again.
type Register struct {
	cfg RegisterConfig

	mu   sync.Mutex
	seen map[string]*entry
}

// RegisterConfig of a Register.
type RegisterConfig struct {
	// Silence after which a holder counts as gone. Default 15 s.
	Silence time.Duration
	// Max identities remembered at once; the longest silent one is forgotten.
	// Default 1000.
	Max int
}

// entry is an identity. before is the instance that the holder replaced from the
// same place; denied lost its place to one that turned out to live.
type entry struct {
	holder Claimant
	heard  time.Time
	before Claimant
	denied uuid.UUID
}

// NewRegister makes an empty one.
func NewRegister(cfg RegisterConfig) *Register {
	if cfg.Silence <= 0 {
		cfg.Silence = 15 * time.Second
	}
	if cfg.Max <= 0 {
		cfg.Max = 1000
	}
	return &Register{cfg: cfg, seen: map[string]*entry{}}
}

// Silence is how long a holder that is not heard of keeps its identity.
func (r *Register) Silence() time.Duration { return r.cfg.Silence }

// Claim says that c is alive under identity. *ErrHeld names the process that is.
func (r *Register) Claim(identity string, c Claimant) error {
	if c.Instance == uuid.Nil {
		return errors.New("a process without an instance cannot hold an identity")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	e, ok := r.seen[identity]
	if !ok {
		r.makeRoom()
		e = &entry{}
		r.seen[identity] = e
	}
	switch gone := now.Sub(e.heard) > r.cfg.Silence; {
	case c.Instance == e.holder.Instance:
	case gone || !ok:
		*e = entry{holder: c}
	case c.Instance == e.before.Instance:
		// It was replaced as if it had been restarted, and speaks again: a copy in
		// the same place of another machine. The first one keeps the identity.
		e.denied, e.holder, e.before = e.holder.Instance, e.before, Claimant{}
	case c.Place != "" && c.Place == e.holder.Place && c.Instance != e.denied:
		e.before, e.holder = e.holder, c
	default:
		return &ErrHeld{Path: identity, Holder: e.holder.String()}
	}
	e.heard = now
	return nil
}

// Holder is who holds an identity, if anybody is heard of.
func (r *Register) Holder(identity string) (Holder, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.seen[identity]
	if !ok || time.Since(e.heard) > r.cfg.Silence {
		return Holder{}, false
	}
	return e.holder.Holder, true
}

// makeRoom forgets the longest silent identity when there are too many. Callers
// hold mu.
func (r *Register) makeRoom() {
	if len(r.seen) < r.cfg.Max {
		return
	}
	oldest := ""
	for id, e := range r.seen {
		if oldest == "" || e.heard.Before(r.seen[oldest].heard) {
			oldest = id
		}
	}
	delete(r.seen, oldest)
}
