package bench

import (
	"fmt"
	"math"
	"runtime"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/merkle"
	"quarry/proofs/porep"
	"quarry/proofs/sdr"
)

// Need is what a sector takes while it is sealed and proved.
type Need struct {
	Memory uint64 `json:"memory_bytes"` // of the phase that takes most
	Disk   uint64 `json:"disk_bytes"`   // of all files, before anything is removed
}

// needOf is what sealing s takes. limit is a limit on memory for labels, 0 for
// none.
func needOf(s porep.Sector, limit int64) (Need, error) {
	d, err := s.Dimensions()
	if err != nil {
		return Need{}, err
	}
	size := d.Shape.Nodes * merkle.NodeSize
	synth, err := s.SyntheticSize()
	if err != nil {
		return Need{}, err
	}
	bases, leaves := uint64(d.Shape.Bases()), d.Shape.BaseLeaves()
	disk := 2*size + // unsealed, sealed
		merkle.RowsSize(d.Shape.Nodes, 2, 0) + uint64(d.Layers)*size +
		bases*(merkle.RowsSize(leaves, merkle.BaseArity, 0)+merkle.RowsSize(leaves, merkle.BaseArity, d.Shape.DefaultDiscard()+1)) +
		uint64(synth)
	labels := sdr.MemoryNeed(d.Shape.Nodes, 1)
	if limit > 0 {
		labels = min(labels, limit)
		disk += 2 * size // unsealing under a limit keeps layers on disk
	}
	// Beside labels the largest phase is the second; registered proofs of this
	// size are as good as any to ask.
	registered := abi.RegisteredSealProof_StackedDrg2KiBV1_1
	if p, err := SealProofOf(abi.SectorSize(size)); err == nil {
		registered = p
	}
	second, err := porep.PreCommit2Memory(registered, runtime.GOMAXPROCS(0))
	if err != nil {
		return Need{}, err
	}
	return Need{Memory: max(uint64(labels), second) + processMemory, Disk: disk}, nil
}

// processMemory is about what the program takes beside what a phase reserves: a
// base, and what of the heap is kept in large pages or not yet collected. With it
// the figure for 512 MiB sectors is a little above the measured peak.
const processMemory = 384 << 20

// Check compares with what dir's file system and the machine have; what they do
// not tell is not checked.
func (n Need) Check(m Machine, dir string) error {
	if free, ok := FreeDisk(dir); ok && free < n.Disk {
		return fmt.Errorf("%s of disk are needed and %s has %s free; name another directory (--out)", Bytes(n.Disk), dir, Bytes(free))
	}
	if m.RAM > 0 && m.RAM < n.Memory {
		return fmt.Errorf("%s of memory are needed and this machine has %s; --memory limits that of labels, which makes them slow",
			Bytes(n.Memory), Bytes(m.RAM))
	}
	return nil
}

// Bytes is an amount for people.
func Bytes(n uint64) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	e := min(int(math.Log2(float64(n)))/10, len(units))
	return fmt.Sprintf("%.1f %ciB", float64(n)/math.Pow(1024, float64(e)), units[e-1])
}
