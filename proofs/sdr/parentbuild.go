package sdr

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
)

// ParentStore is a file under construction: the parent cache, or the journal of
// how far it has come. A journal that does not exist yet reads as empty.
type ParentStore interface {
	io.ReaderAt
	io.WriterAt
	// Sync makes what was written survive a crash.
	Sync() error
}

// buildNodes is how many nodes are computed between two entries in the journal:
// 56 MiB.
const buildNodes = 1 << 20

// BuildParentFile computes the parent cache file on all CPUs and returns its
// SHA-256, which is compared with the published one if there is one. file must
// have its length, ParentFileSize, or grow on writing. An interrupted build goes
// on where journal says, after it has read again what is there. done, which may
// be nil, hears how many nodes are stored.
func BuildParentFile(ctx context.Context, g *Graph, file, journal ParentStore, done func(uint64)) (sum [32]byte, err error) {
	return g.buildParents(ctx, file, journal, buildNodes, done)
}

func (g *Graph) buildParents(ctx context.Context, file, journal ParentStore, step uint64, done func(uint64)) (sum [32]byte, err error) {
	if done == nil {
		done = func(uint64) {}
	}
	h := sha256.New()
	start, slot := g.resume(journal)
	if start > 0 {
		want := slot.sum
		if err := hashFile(ctx, h, file, int64(start)*recordSize); err != nil || [32]byte(h.Sum(nil)) != want { // an offset inside the file
			if ctx.Err() != nil {
				return sum, ctx.Err()
			}
			start = 0 // the file is not what the journal says; all again
			h.Reset()
		}
	}
	for start < g.nodes {
		done(start)
		end := min(start+step, g.nodes)
		raw := make([]byte, (end-start)*recordSize)
		if err := g.encodeParents(ctx, start, end, raw); err != nil {
			return sum, err
		}
		if _, err := file.WriteAt(raw, int64(start)*recordSize); err != nil { // an offset inside the file
			return sum, fmt.Errorf("sdr: writing the parent cache file at node %d: %w", start, err)
		}
		if err := file.Sync(); err != nil {
			return sum, fmt.Errorf("sdr: syncing the parent cache file: %w", err)
		}
		_, _ = h.Write(raw) // a hash takes all
		start = end
		slot = journalEntry{turn: slot.turn + 1, nodes: start, sum: [32]byte(h.Sum(nil))}
		if err := g.note(journal, slot); err != nil {
			return sum, err
		}
	}
	done(start)
	sum = [32]byte(h.Sum(nil))
	if want, known := g.ParentFileDigest(); known && sum != want {
		return sum, fmt.Errorf("sdr: the parent cache file just built has SHA-256 %x, not %x; this is an error of the program "+
			"or of the machine", sum, want)
	}
	return sum, nil
}

// encodeParents fills raw with the records of the nodes start … end-1.
func (g *Graph) encodeParents(ctx context.Context, start, end uint64, raw []byte) error {
	return g.inParts(ctx, start, end, func(ctx context.Context, from, to uint64) error {
		run := make([]uint32, (to-from)*Degree)
		if err := g.ReadParents(ctx, from, run); err != nil {
			return err
		}
		out := raw[(from-start)*recordSize:]
		for i, p := range run {
			binary.LittleEndian.PutUint32(out[i*4:], p)
		}
		return nil
	})
}

// The journal has two entries that are written in turn, so that one is whole
// whatever happens. An entry is the name of the file (its hash), how often the
// journal was written, how many nodes are stored, the SHA-256 of those, and the
// SHA-256 of all that.
type journalEntry struct {
	turn, nodes uint64
	sum         [32]byte
}

const (
	entrySpace = 512 // a disk sector each, so that one cannot tear the other
	entrySize  = 32 + 8 + 8 + 32 + 32
)

func (g *Graph) note(journal ParentStore, e journalEntry) error {
	b := g.encodeEntry(e)
	if _, err := journal.WriteAt(b, int64(e.turn%2)*entrySpace); err != nil { // the entry of an even or an odd turn
		return fmt.Errorf("sdr: writing the journal of the parent cache file: %w", err)
	}
	if err := journal.Sync(); err != nil {
		return fmt.Errorf("sdr: syncing the journal of the parent cache file: %w", err)
	}
	return nil
}

func (g *Graph) encodeEntry(e journalEntry) []byte {
	name := sha256.Sum256([]byte(g.ParentFileName()))
	b := make([]byte, 0, entrySize)
	b = append(b, name[:]...)
	b = binary.LittleEndian.AppendUint64(b, e.turn)
	b = binary.LittleEndian.AppendUint64(b, e.nodes)
	b = append(b, e.sum[:]...)
	check := sha256.Sum256(b)
	return append(b, check[:]...)
}

// resume is the newest good entry of the journal, and where it says that
// building goes on.
func (g *Graph) resume(journal io.ReaderAt) (uint64, journalEntry) {
	var best journalEntry
	for i := range int64(2) {
		b := make([]byte, entrySize)
		if readFull(journal, b, i*entrySpace) != nil {
			continue // never written
		}
		e := journalEntry{turn: binary.LittleEndian.Uint64(b[32:]), nodes: binary.LittleEndian.Uint64(b[40:]), sum: [32]byte(b[48:80])}
		if bytes.Equal(b, g.encodeEntry(e)) && e.nodes <= g.nodes && e.turn > best.turn {
			best = e
		}
	}
	return best.nodes, best
}
