package tasks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"quarry/api"
	"quarry/internal/durable"
	"quarry/proofs/merkle"
	"quarry/proofs/porep"
	"quarry/proofs/update"
	"quarry/storage/paths"
)

// What a stopped or killed process had computed is gone on with: it stays where
// it was being made. The proofs find out themselves what of it is whole. Beside it
// stands whose it is, of what it is made, and, once it is whole, what the task
// gives; nothing of it is declared before.

// ownerSuffix makes the name of the file that says which task makes a file.
const ownerSuffix = ".task"

// owner is what an owner file holds.
type owner struct{ Task api.UUID }

// own says that what lies, or will lie, at name is made by this task.
func (j *job) own(name string) error {
	b, err := json.Marshal(owner{j.ID()})
	if err != nil {
		return fmt.Errorf("encode the owner of %s: %w", name, err)
	}
	return durable.WriteFile(name+ownerSuffix, b, 0o644)
}

// ownerOf tells which task made what lies at name, if that is known.
func ownerOf(name string) (o owner, known bool) {
	b, err := os.ReadFile(name + ownerSuffix) //nolint:gosec // our own file
	return o, err == nil && json.Unmarshal(b, &o) == nil
}

// inputOf names everything that what is made depends on.
func inputOf(parts ...any) (string, error) {
	b, err := json.Marshal(parts)
	if err != nil {
		return "", fmt.Errorf("encode what a task starts from: %w", err)
	}
	return sumOf(b), nil
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// finished is what a task gave for an input, kept beside the files until the next
// task has used them: the report of it may never have arrived.
type finished struct {
	Input  string
	Output json.RawMessage
}

func saveFinished(name, input string, output any) error {
	raw, err := json.Marshal(output)
	if err != nil {
		return fmt.Errorf("encode what a task gave: %w", err)
	}
	b, err := json.Marshal(finished{input, raw})
	if err != nil {
		return fmt.Errorf("encode what a task gave: %w", err)
	}
	return durable.WriteFile(name, b, 0o644)
}

// loadFinished reads what was given for an input; false when it was not.
func loadFinished(name, input string, output any) bool {
	b, err := os.ReadFile(name) //nolint:gosec // our own file
	var f finished
	return err == nil && json.Unmarshal(b, &f) == nil && f.Input == input && json.Unmarshal(f.Output, output) == nil
}

// home is where a file is being made.
type home struct {
	at      paths.Path
	name    string
	release func() // of the room that was reserved
}

// begun gives the place where an earlier attempt at a file was left that same
// takes, and reserves what it lacks of need bytes.
func (j *job) begun(ctx context.Context, t api.FileType, need uint64, same func(name string) bool) (home, bool) {
	for _, p := range j.local.Paths() {
		if !p.Meta.CanSeal {
			continue
		}
		name, err := p.MadePath(j.sector.ID, t)
		if err != nil || !same(name) {
			continue
		}
		if release, err := j.local.Reserve(ctx, p.Meta.ID, need-min(need, onDisk(name))); err == nil {
			return home{p, name, release}, true
		}
	}
	return home{}, false
}

// onDisk is how many bytes a file or directory takes; what cannot be read takes
// none.
func onDisk(name string) (sum uint64) {
	_ = filepath.WalkDir(name, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && unix.Lstat(path, &st) == nil {
			sum += uint64(st.Blocks) * 512 //nolint:gosec // not negative
		}
		return nil
	})
	return sum
}

// remove deletes a file if it is there.
func remove(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// wrongData tells whether a failure says that the data is wrong, so that what
// was made of it is worth nothing. A failure of contact, space or a disk, and a
// stop, do not.
func wrongData(err error) bool {
	for _, wrong := range []error{porep.ErrPieces, merkle.ErrDamaged, merkle.ErrProof, update.ErrFiles, update.ErrKey} {
		if errors.Is(err, wrong) {
			return true
		}
	}
	_, typed := api.Typed(err)
	switch typed.(type) { //nolint:errorlint // Typed has unwrapped it
	case *api.ErrInvalid, *api.ErrPieceMismatch:
		return true
	}
	return false
}

// scrap deletes what an attempt made if the failure says that it is worth
// nothing, and gives the failure back.
func scrap(err error, names ...string) error {
	if err == nil || !wrongData(err) {
		return err
	}
	for _, n := range names {
		err = errors.Join(err, os.RemoveAll(n), remove(n+ownerSuffix), remove(n+inputSuffix))
	}
	return err
}

// publishMade gives what was made its final name and declares it, once the claim
// is confirmed. An error deletes nothing.
func (j *job) publishMade(ctx context.Context, at paths.Path, t api.FileType) error {
	if err := j.Confirm(ctx); err != nil {
		return err
	}
	name, err := at.MadePath(j.sector.ID, t)
	if err != nil {
		return err
	}
	if err := at.PublishMade(j.sector.ID, t); err != nil {
		return err
	}
	if err := remove(name + ownerSuffix); err != nil {
		return err
	}
	return j.declare(ctx, at, t, false)
}
