package paramcache

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/crypto/blake2b"

	"quarry/proofs/groth16"
)

// Progress is told how far a long step is, in its own units.
type Progress func(stage string, done, total int64)

// Stages of Progress while a file is checked.
const (
	StageCheck  = "digest" // bytes
	StagePoints = "points" // points
)

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

// tellAbove is the size in bytes of files whose check takes long enough to be told.
const tellAbove = 1 << 30

// trust is verify, unless the same file was verified before.
func (c *Cache) trust(ctx context.Context, f *os.File, name string, devnet bool) error {
	want, err := c.wanted(name, devnet)
	if err != nil {
		return err
	}
	if c.remembers(f, want) {
		return nil
	}
	if st, err := f.Stat(); err == nil && st.Size() > tellAbove {
		c.log.Info("a parameter file is read whole before its first use; a proof waits about a second per gigabyte", "file",
			f.Name(), "bytes", st.Size())
	}
	return c.verify(ctx, f, name, devnet, nil)
}

// verify reads a whole file and compares it with what its generation recorded or
// the list of published files has.
func (c *Cache) verify(ctx context.Context, f *os.File, name string, devnet bool, progress Progress) error {
	before, err := identify(f)
	if err != nil {
		return fmt.Errorf("check %s: %w", f.Name(), err)
	}
	want, err := c.wanted(name, devnet)
	if err != nil {
		return err
	}
	if err := want.sized(f.Name(), before.Size); err != nil {
		return err // without reading it
	}
	got, err := groth16.Digest(ctx, &counted{r: io.NewSectionReader(f, 0, before.Size), total: before.Size, progress: progress})
	if err != nil {
		return fmt.Errorf("check %s: %w", f.Name(), err)
	}
	if err := want.same(f.Name(), before.Size, got); err != nil {
		return err
	}
	c.remember(f, got, before)
	return nil
}

// expected is what a file must be.
type expected struct {
	digest string
	size   int64 // bytes, 0 = not known
}

func (e expected) sized(path string, size int64) error {
	if e.size != 0 && size != e.size {
		return &DamagedError{Path: path, Reason: fmt.Sprintf("it has %d bytes instead of %d", size, e.size)}
	}
	return nil
}

func (e expected) same(path string, size int64, digest string) error {
	if err := e.sized(path, size); err != nil {
		return err
	}
	if digest != e.digest {
		return &DamagedError{Path: path, Reason: fmt.Sprintf("its digest is %s instead of %s", digest, e.digest)}
	}
	return nil
}

func (c *Cache) wanted(name string, devnet bool) (expected, error) {
	if !devnet {
		f, ok := Lookup(name)
		if !ok {
			return expected{}, &DamagedError{Path: filepath.Join(c.dir, name), Reason: "no network has published a file of this name"}
		}
		return expected{f.Digest, f.Bytes}, nil
	}
	r, err := readRecord(c.madePath(name))
	if err != nil {
		return expected{}, &DamagedError{Path: filepath.Join(c.dir, dirDevnet, name),
			Reason: "there is no record of its generation, which lies beside it as a .json file: " + err.Error()}
	}
	return expected{r.Digest, r.Size}, nil
}
