package repo

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"quarry/internal/holder"
)

// ID tells repos apart; copies of one repo have the same. It is made from the
// first secret of the tokens, which a copy shares and nothing else does, and does
// not tell that secret; a rotation keeps it.
func (r *Repo) ID() uuid.UUID { return r.id }

func repoID(secret []byte) uuid.UUID {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("quarry repo identity"))
	id, _ := uuid.FromBytes(mac.Sum(nil)[:16]) // 16 bytes always are one
	return id
}

// hold refuses a repo of which another copy is in use by this user on this
// machine: two copies would sign, seal and answer as one. Copies in use elsewhere
// are found by the processes that both talk to.
func (r *Repo) hold() error {
	s, err := readSecrets(r.keys)
	if err != nil {
		return err
	}
	r.id = s.identity()
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil // a user without a home
	}
	dir := filepath.Join(cache, "quarry", "holders")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil // nor a place to write
	}
	r.copies, err = holder.Take(filepath.Join(dir, r.id.String()), holder.Self("repo "+r.dir))
	var held *holder.ErrHeld
	switch {
	case errors.As(err, &held):
		return &ErrCopy{Dir: r.dir, Holder: held.Holder}
	case errors.Is(err, holder.ErrNoLocks), errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

// ErrCopy says that a copy of the repo is in use.
type ErrCopy struct {
	Dir    string
	Holder string
}

func (e *ErrCopy) Error() string {
	return fmt.Sprintf("repo %s is a copy of one that is in use by %s; stop that process first, and never run both: they "+
		"would sign and answer as one", e.Dir, e.Holder)
}
