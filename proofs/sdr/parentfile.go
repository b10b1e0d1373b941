package sdr

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
)

// The parent cache file of rust-fil-proofs (storage-proofs-porep/src/stacked/
// vanilla/cache.rs): for every node its fourteen parents, base parents first,
// as little-endian u32, and nothing else.

const recordSize = Degree * 4

// ParentFileSize is the length of the parent cache file of a graph: 56 bytes a
// node, 56 GiB for 32 GiB sectors.
func (g *Graph) ParentFileSize() int64 { return int64(g.nodes) * recordSize } // at most 2^32 nodes

// ParentFileName is the name that rust-fil-proofs looks for. Graphs of different
// seal proofs differ in it.
func (g *Graph) ParentFileName() string {
	h := sha256.New()
	const hasher = "poseidon_hasher"
	_, _ = io.WriteString(h, hasher+"stacked_graph::StackedGraph{expansion_degree: 8 base_graph: drgraph::BucketGraph{size: "+
		strconv.FormatUint(g.nodes, 10)+"; degree: 6; hasher: "+hasher+"} }") // a hash takes all
	for _, k := range g.keys {
		_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, k))
	}
	_, _ = h.Write(binary.LittleEndian.AppendUint32(nil, uint32(g.nodes))) // as in the reference
	return "v28-sdr-parent-" + hex.EncodeToString(h.Sum(nil)) + ".cache"
}

// published is the SHA-256 of the parent cache files of seal proofs 0 to 9
// (rust-fil-proofs parent_cache.json), by the first 16 hexadecimal digits of the
// file's name. Those of later proofs are not published.
var published = map[string]string{
	"3f0eef38bb48af1f": "3da49221e2ed55371b86d0bf3d6526fcf128af61bed904f966428db1b531750d",
	"dcdabb0fbe4364bf": "a76604f2f59f2744c7151653bbb1d8596b6b57d295e6fa6c1f0c41d725b502ce",
	"2aa9c77c3e582594": "3adcc092423aa76d6a7184016893406da44dd974b219a89cd3ece25e4e3018f5",
	"e1fa5d5b811ddbd1": "3c4f9841fcc75aed8c695800e58d08480629f25af3a2aefd81904181d75cc0b6",
	"8a99e8d6b6be7ab8": "2778a732ad46a7dc18e0564dfdf59fd321dcde74ab476fd6d3c4e6735d7cd89c",
	"494d91dc80f2df52": "840057702eea7652cf97e04306c30fe57174714d90de156a25eddd6075c25b97",
	"5eed212119fd91aa": "03cd13565ded97c240a5f52e54295ad127bd0461b57904cb3a4d79b097bbecab",
	"7ba215a1d2345774": "b5877d1963793efebc261fd8fde4dd6bc59e6b5c7abf52617a4ee023b8dc173a",
	"21981246c370f9d7": "93deeac5e3052b6927467d4b2641bb782f05491de18d510147c93eeedd8672da",
	"4905486b7af19558": "2698b74eb2606b55b98d8b095e18b6320b47f46e00075956d48640ccd1641b03",
}

// ParentFileDigest is the published SHA-256 of the graph's parent cache file. It
// is not known for seal proofs 10 and later.
func (g *Graph) ParentFileDigest() (sum [32]byte, known bool) {
	name := g.ParentFileName()
	const prefix = len("v28-sdr-parent-")
	b, err := hex.DecodeString(published[name[prefix:prefix+16]])
	if err != nil || len(b) != len(sum) {
		return sum, false
	}
	return [32]byte(b), true
}

// ErrParentFile is the cause of every refusal of a parent cache file.
var ErrParentFile = errors.New("the parent cache file is damaged or of another graph; remove it and build it again")

// ParentFile reads parents from a parent cache file. While labels are computed
// it is read from front to back, once a layer, 112 KiB at a time.
type ParentFile struct {
	graph *Graph
	r     io.ReaderAt
}

// OpenParentFile takes a parent cache file of size bytes. It looks at the size
// and at some nodes only; Verify reads all.
func OpenParentFile(ctx context.Context, g *Graph, r io.ReaderAt, size int64) (*ParentFile, error) {
	if size != g.ParentFileSize() {
		return nil, fmt.Errorf("sdr: %w: it has %d bytes, not %d", ErrParentFile, size, g.ParentFileSize())
	}
	f := &ParentFile{g, r}
	const samples = 64
	for i := range uint64(samples) {
		n := (g.nodes - 1) * i / (samples - 1)
		var got, want [Degree]uint32
		if err := f.ReadParents(ctx, n, got[:]); err != nil {
			return nil, err
		}
		if err := g.ReadParents(ctx, n, want[:]); err != nil {
			return nil, err
		}
		if got != want {
			return nil, fmt.Errorf("sdr: %w: node %d has parents %v, not %v", ErrParentFile, n, got, want)
		}
	}
	return f, nil
}

// ReadParents implements Parents. What it returns is inside the graph, whatever
// the file says.
func (f *ParentFile) ReadParents(ctx context.Context, start uint64, dst []uint32) error {
	if err := checkRun(start, dst, f.graph.nodes); err != nil {
		return err
	}
	const step = runNodes
	raw := make([]byte, min(step*recordSize, len(dst)*4))
	for len(dst) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(len(dst), len(raw)/4)
		if err := readFull(f.r, raw[:n*4], int64(start)*recordSize); err != nil { // an offset inside the file
			return fmt.Errorf("sdr: parent cache file at node %d: %w", start, err)
		}
		for i := range dst[:n] {
			dst[i] = binary.LittleEndian.Uint32(raw[i*4:])
		}
		if err := f.graph.checkParents(start, dst[:n]); err != nil {
			return err
		}
		dst, start = dst[n:], start+uint64(n/Degree)
	}
	return nil
}

// checkParents makes sure that the kernels stay inside their layers.
func (g *Graph) checkParents(start uint64, run []uint32) error {
	for i := 0; i < len(run); i += Degree {
		node := start + uint64(i/Degree)
		bad := false
		for _, p := range run[i : i+BaseDegree] {
			bad = bad || uint64(p) >= max(node, 1)
		}
		for _, p := range run[i+BaseDegree : i+Degree] {
			bad = bad || uint64(p) >= g.nodes
		}
		if bad {
			return fmt.Errorf("sdr: %w: node %d cannot have parents %v", ErrParentFile, node, run[i:i+Degree])
		}
	}
	return nil
}

// Verify reads the whole file and compares its SHA-256 with want, or, where want
// is zero, with the published one. Without either it compares all parents with
// computed ones, which takes as long as building the file.
func (f *ParentFile) Verify(ctx context.Context, want [32]byte) error {
	if want == ([32]byte{}) {
		known := false
		if want, known = f.graph.ParentFileDigest(); !known {
			return f.compare(ctx)
		}
	}
	h := sha256.New()
	if err := hashFile(ctx, h, f.r, f.graph.ParentFileSize()); err != nil {
		return err
	}
	if got := [32]byte(h.Sum(nil)); got != want {
		return fmt.Errorf("sdr: %w: its SHA-256 is %x, not %x", ErrParentFile, got, want)
	}
	return nil
}

func (f *ParentFile) compare(ctx context.Context) error {
	return f.graph.inParts(ctx, 0, f.graph.nodes, func(ctx context.Context, start, end uint64) error {
		run := make([]uint32, 2*(end-start)*Degree)
		got, want := run[:len(run)/2], run[len(run)/2:]
		if err := f.ReadParents(ctx, start, got); err != nil {
			return err
		}
		if err := f.graph.ReadParents(ctx, start, want); err != nil {
			return err
		}
		for i := range got {
			if got[i] != want[i] {
				return fmt.Errorf("sdr: %w: parent %d of node %d is %d, not %d", ErrParentFile, i%Degree, start+uint64(i/Degree),
					got[i], want[i])
			}
		}
		return nil
	})
}

// hashFile adds the first size bytes of r to h.
func hashFile(ctx context.Context, h hash.Hash, r io.ReaderAt, size int64) error {
	buf := make([]byte, min(size, 1<<20))
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(int64(len(buf)), size-off)
		if err := readFull(r, buf[:n], off); err != nil {
			return fmt.Errorf("sdr: parent cache file at byte %d: %w", off, err)
		}
		_, _ = h.Write(buf[:n]) // a hash takes all
		off += n
	}
	return nil
}

// readFull fills b; a reader may say io.EOF together with the last bytes.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
