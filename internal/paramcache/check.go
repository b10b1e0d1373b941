package paramcache

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/blake2b"

	"quarry/internal/durable"
	"quarry/proofs/groth16"
)

// Progress is told how far a long step is, in its own units.
type Progress func(stage string, done, total int64)

// Stages of Progress while a file is checked.
const (
	StageCheck  = "digest" // bytes
	StagePoints = "points" // points
)

// record is what a whole-file check found. It stands for the check as long as
// size and time of the file are the same.
type record struct {
	Digest  string    // first 16 bytes of BLAKE2b-512, hex
	Size    int64     // bytes
	ModTime time.Time // of the file that was read
}

func (c *Cache) recordPath(name string, devnet bool) string {
	if devnet {
		return filepath.Join(c.dir, dirDevnet, name+".json")
	}
	return filepath.Join(c.dir, dirChecked, name+".json")
}

func readRecord(path string) (record, error) {
	f, err := os.Open(path) //nolint:gosec // below the cache directory, names are checked
	if err != nil {
		return record{}, err
	}
	defer f.Close()
	var r record
	if err := json.NewDecoder(io.LimitReader(f, 4096)).Decode(&r); err != nil {
		return record{}, fmt.Errorf("%s: %w; remove it and the file will be checked again", path, err)
	}
	return r, nil
}

func (c *Cache) writeRecord(name string, devnet bool, r record) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode record of %s: %w", name, err)
	}
	p := c.recordPath(name, devnet)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		return fmt.Errorf("record the check of %s: %w", name, err)
	}
	return durable.WriteFile(p, raw, 0o644)
}

// digestOf is the digest of something small.
func digestOf(b []byte) string {
	sum := blake2b.Sum512(b)
	return hex.EncodeToString(sum[:16])
}

func encodeKey(vk *groth16.VerifyingKey) ([]byte, error) {
	var b bytes.Buffer
	if _, err := vk.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("encode the verifying key: %w", err)
	}
	return b.Bytes(), nil
}

// counted tells progress how much was read.
type counted struct {
	r           io.Reader
	done, total int64
	progress    Progress
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.done += int64(n)
	if c.progress != nil {
		c.progress(StageCheck, c.done, c.total)
	}
	return n, err
}

// trust is verify, unless the record says that the same file was verified before:
// one whose size and time are those of the record is not read again.
func (c *Cache) trust(ctx context.Context, f *os.File, name string, devnet bool) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	want, err := c.wanted(name, devnet)
	if err != nil {
		return err
	}
	seen, err := readRecord(c.recordPath(name, devnet))
	if err == nil && seen.Digest == want.digest && seen.Size == st.Size() && seen.ModTime.Equal(st.ModTime()) {
		return nil
	}
	return c.verify(ctx, f, name, devnet, nil)
}

// verify reads a whole file and compares it with its record or the list of
// published files.
func (c *Cache) verify(ctx context.Context, f *os.File, name string, devnet bool, progress Progress) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	want, err := c.wanted(name, devnet)
	if err != nil {
		return err
	}
	if want.size != 0 && st.Size() != want.size {
		return &DamagedError{Path: f.Name(), Reason: fmt.Sprintf("it has %d bytes instead of %d", st.Size(), want.size)}
	}
	got, err := groth16.Digest(ctx, &counted{r: io.NewSectionReader(f, 0, st.Size()), total: st.Size(), progress: progress})
	if err != nil {
		return fmt.Errorf("check %s: %w", f.Name(), err)
	}
	if got != want.digest {
		return &DamagedError{Path: f.Name(), Reason: fmt.Sprintf("its digest is %s instead of %s", got, want.digest)}
	}
	return c.writeRecord(name, devnet, record{Digest: got, Size: st.Size(), ModTime: st.ModTime()})
}

type expected struct {
	digest string
	size   int64
}

func (c *Cache) wanted(name string, devnet bool) (expected, error) {
	if !devnet {
		f, ok := Lookup(name)
		if !ok {
			return expected{}, &DamagedError{Path: filepath.Join(c.dir, name), Reason: "no network has published a file of this name"}
		}
		return expected{f.Digest, f.Bytes}, nil
	}
	r, err := readRecord(c.recordPath(name, true))
	if err != nil {
		return expected{}, &DamagedError{Path: filepath.Join(c.dir, dirDevnet, name), Reason: "its generation was not finished: " + err.Error()}
	}
	return expected{r.Digest, r.Size}, nil
}
