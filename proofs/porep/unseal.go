package porep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"quarry/proofs/merkle"
	"quarry/proofs/poseidon"
	"quarry/proofs/sdr"
)

// UnsealTask is a range of a sector's data to compute from its replica.
type UnsealTask struct {
	Sector Sector
	// Ticket is the one that the sector was sealed with, 32 bytes.
	Ticket abi.SealRandomness
	// CommD is the commitment to the sector's data, as it is on chain.
	CommD cid.Cid
	// Sealed is the whole replica.
	Sealed io.ReaderAt
	// Out is written the fr32-padded bytes of the range, in order.
	Out io.Writer
	// Offset and Size are the range in padded bytes, multiples of 128.
	Offset, Size abi.PaddedPieceSize
	// Scratch, where not nil, holds up to two layers while the work goes on:
	// unsealing that was interrupted then goes on behind the last whole layer when
	// it is repeated with the same scratch, which is empty again in the end. It must
	// not be the cache of a sector. A limit on memory below PreCommit1Memory needs
	// it.
	Scratch Files
}

// Unseal writes the fr32-padded bytes [Offset, Offset+Size) of the sector's data
// to Out. It computes all labels again, whatever the range, so it costs about as
// much as PreCommit1, and the same memory; it needs neither cache nor unsealed
// file. The result is not checked against a piece commitment: that is for whoever
// knows the piece.
func Unseal(ctx context.Context, t UnsealTask, o LabelOptions, p Progress) error {
	par, err := t.Sector.paramsWith(t.Ticket)
	if err != nil {
		return err
	}
	d, err := commcid.CIDToDataCommitmentV1(t.CommD)
	if err != nil {
		return fmt.Errorf("porep: unsealing %s: CommD %s: %w", t.Sector, t.CommD, err)
	}
	total := abi.PaddedPieceSize(par.size())
	if t.Offset%128 != 0 || t.Size%128 != 0 || t.Offset > total || t.Size > total-t.Offset {
		return fmt.Errorf("porep: unsealing %s: range of %d bytes at %d: want multiples of 128 within %d",
			t.Sector, t.Size, t.Offset, total)
	}
	if least := sdr.MemoryNeed(par.nodes, 1); t.Scratch == nil && o.Memory > 0 && o.Memory < least {
		return fmt.Errorf("porep: unsealing %s takes %d bytes of memory; to do it with %d, give it a directory for its layers",
			t.Sector, least, o.Memory)
	}
	j := unsealing{
		par:    &par,
		id:     par.replicaID(t.Sector, [32]byte(t.Ticket), [32]byte(d)),
		commD:  [32]byte(d),
		sealed: t.Sealed,
		out:    t.Out,
		offset: uint64(t.Offset),
		size:   uint64(t.Size),
	}
	if err := j.run(ctx, t.Scratch, o, p); err != nil {
		return fmt.Errorf("porep: unsealing %s: %w", t.Sector, err)
	}
	return nil
}

func (par *params) replicaID(s Sector, ticket, commD [32]byte) [32]byte {
	return sdr.ReplicaID(s.proverID(), uint64(s.Number), ticket, commD, par.porepID)
}

// unsealing is one range on its way from the replica to out.
type unsealing struct {
	par          *params
	id, commD    [32]byte // of the replica
	sealed       io.ReaderAt
	out          io.Writer
	offset, size uint64 // padded bytes
}

func (j *unsealing) run(ctx context.Context, scratch Files, o LabelOptions, p Progress) error {
	if j.commD == ([32]byte{}) {
		return errZero
	}
	if j.size == 0 {
		return nil
	}
	if scratch != nil {
		return j.fromScratch(ctx, scratch, o, p)
	}
	g, err := j.par.graph()
	if err != nil {
		return err
	}
	total := int64(j.par.nodes) * int64(j.par.layers)
	err = sdr.GenerateLayersBatch(ctx, sdr.Batch{
		Graph:    g,
		Parents:  o.Parents,
		Replicas: []sdr.Node{j.id},
		Layers:   j.par.layers,
		Memory:   o.Memory,
		Kernel:   o.Kernel.Labels,
		Done:     func(n uint64) { p.report(StageLabels, int64(n), total) },
	}, &decoder{unsealing: j, ctx: ctx})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// fromScratch decodes from the last layer in scratch.
func (j *unsealing) fromScratch(ctx context.Context, scratch Files, o LabelOptions, p Progress) error {
	l := newLayerFiles(j.par, j.id, scratch, true)
	defer l.close()
	if err := j.par.label(ctx, layerStores{l}, o, p); err != nil {
		return err
	}
	key, err := l.reopen(j.par.layers)
	if err != nil {
		return err
	}
	if err := Decode(ctx, key, j.sealed, j.out, j.offset, j.size); err != nil {
		return err
	}
	return l.remove(j.par.layers)
}

// decoder is a store of labels that decodes with those of the last layer and
// drops the others.
type decoder struct {
	*unsealing
	ctx context.Context // lives as long as the call that it belongs to
}

// errEnough stops labelling behind the range that is wanted.
var errEnough = errors.New("the range is unsealed")

// WriteLabels implements sdr.Store.
func (d *decoder) WriteLabels(_, layer int, off int64, labels []byte) error {
	at, end := uint64(off), uint64(off)+uint64(len(labels)) // inside the sector
	from, to := max(at, d.offset), min(end, d.offset+d.size)
	if layer < d.par.layers || from >= to {
		return nil
	}
	if err := Decode(d.ctx, window{labels, off}, d.sealed, d.out, from, to-from); err != nil {
		return err
	}
	if to == d.offset+d.size {
		return errEnough
	}
	return nil
}

// FinishLayer implements sdr.Store.
func (d *decoder) FinishLayer(int, int) error { return nil }

// ReadLabels implements sdr.Store.
func (d *decoder) ReadLabels(_, layer int, _ int64, _ []byte) error {
	return fmt.Errorf("layer %d is not kept", layer)
}

// window reads part of a file that starts at off.
type window struct {
	b   []byte
	off int64
}

// ReadAt implements io.ReaderAt.
func (w window) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(w.b).ReadAt(p, off-w.off)
}

// Decode writes replica minus key, the data, of the padded range to out. key is
// the last layer of labels of the sector.
func Decode(ctx context.Context, key, sealed io.ReaderAt, out io.Writer, offset, size uint64) error {
	const batch = 4096
	raw := make([]byte, batch*merkle.NodeSize)
	keys, data := make([]poseidon.Element, batch), make([]poseidon.Element, batch)
	for start, end := offset/merkle.NodeSize, (offset+size)/merkle.NodeSize; start < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(batch, end-start)
		if err := readElements(key, keys[:n], raw, start); err != nil {
			return fmt.Errorf("sector key: %w", err)
		}
		if err := readElements(sealed, data[:n], raw, start); err != nil {
			return fmt.Errorf("sealed file: %w", err)
		}
		for i := range n {
			data[i].Sub(&data[i], &keys[i])
		}
		poseidon.EncodeRow(raw[:n*merkle.NodeSize], data[:n])
		if _, err := out.Write(raw[:n*merkle.NodeSize]); err != nil {
			return fmt.Errorf("writing unsealed bytes: %w", err)
		}
		start += n
	}
	return nil
}

// ClearCache removes what only Prove needed: the layers, tree-c and tree-d. It
// keeps p_aux, t_aux and tree-r-last, which proofs of spacetime need for the
// sector's whole life. It may be repeated.
func ClearCache(cache Files, proof abi.RegisteredSealProof) error {
	if _, err := paramsFor(proof); err != nil {
		return err
	}
	names, err := cache.List()
	if err != nil {
		return fmt.Errorf("porep: listing the cache: %w", err)
	}
	for _, n := range names {
		rest, ours := strings.CutPrefix(n, filePrefix)
		if !ours || !strings.HasPrefix(rest, "layer-") && !strings.HasPrefix(rest, "tree-c") && !strings.HasPrefix(rest, "tree-d") {
			continue
		}
		if err := cache.Remove(n); err != nil {
			return fmt.Errorf("porep: removing %s from the cache: %w", n, err)
		}
	}
	return nil
}
