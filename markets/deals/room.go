package deals

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// keepFree is left on the staging file system for the deal records themselves,
// in bytes: a store that cannot be written stops every deal.
const keepFree = 64 << 20

var errNoRoom = errors.New("server error: provider has no space left for storage deals")

// room checks E2 against the deals in hand: each holds its bytes, or will, until
// it is active on chain, and what is promised to one is not promised again. It
// runs under the lock of the store, so that of two proposals at a time each
// counts the other.
func (p *Provider) room(size uint64) func(live []*Record) error {
	return func(live []*Record) error {
		promised, coming := size, size
		for _, r := range live {
			promised += r.TransferSize
			coming += r.TransferSize - min(p.onDisk(r), r.TransferSize)
		}
		if limit := p.cfg.Policy.MaxStagingBytes; limit > 0 && promised > limit {
			return errNoRoom
		}
		free, err := p.deps.Free(p.cfg.StagingDir)
		if err != nil {
			return serverError("reading the free space for deals", err)
		}
		if free < keepFree+coming {
			p.deps.Log.Warn("a deal is refused: the disk has no room for it and those accepted before", "dir", p.cfg.StagingDir,
				"free", free, "needed", coming, "kept", keepFree)
			return errNoRoom
		}
		return nil
	}
}

// onDisk is how much of a deal has been staged, in bytes.
func (p *Provider) onDisk(r *Record) uint64 {
	st, err := os.Stat(p.StagedPath(r.UUID))
	if err != nil {
		return 0
	}
	return uint64(st.Size()) //nolint:gosec // not negative
}

// freeBytes is what the file system of dir leaves to this process.
func freeBytes(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("stat staging directory %s: %w", dir, err)
	}
	return s.Bavail * uint64(s.Bsize), nil //nolint:gosec // not negative
}
