package update

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"quarry/proofs/commp"
	"quarry/proofs/kernel"
	"quarry/proofs/merkle"
	"quarry/proofs/porep"
	"quarry/proofs/poseidon"
)

// Replica is a sealed file with its cache directory.
type Replica struct {
	Sealed io.ReaderAt
	Cache  porep.Files
}

// Commitments are the roots of an updated sector.
type Commitments struct {
	CommROld, CommRNew, CommDNew, CommC, CommRLastNew [32]byte
}

// SealedCID is the new CommR as a CID.
func (c Commitments) SealedCID() cid.Cid {
	return porep.Commitments{CommR: c.CommRNew}.SealedCID()
}

// UnsealedCID is the new CommD as a CID.
func (c Commitments) UnsealedCID() cid.Cid {
	return porep.Commitments{CommD: c.CommDNew}.UnsealedCID()
}

// EncodeTask is a sector to put data into.
type EncodeTask struct {
	// Old is the replica that is there. It is left as it is, and is needed later to
	// prove and to decode.
	Old Replica
	// Data has the padded bytes of the whole sector, which must be those of Pieces.
	Data io.ReaderAt
	// Pieces are what the sector is to hold, in order; gaps are zero.
	Pieces []abi.PieceInfo
	// Sealed takes the updated replica.
	Sealed porep.File
	// Cache takes its tree-d, tree-r-last, p_aux and t_aux.
	Cache porep.Files
	// Kernel hashes the trees; what it refuses is done on the CPU. Nil is the CPU.
	// Memory is for the CPU; a kernel may want more (kernel.TreeSizes).
	Kernel kernel.Trees
}

// Encode writes the updated replica and its cache. It may be repeated. Files of
// another size, and files given twice, are refused with ErrFiles before anything
// is written; data that is not that of the pieces gives porep.ErrPieces. Memory
// needed: Memory.
func Encode(ctx context.Context, proof abi.RegisteredUpdateProof, t EncodeTask, p porep.Progress) (Commitments, error) {
	par, err := paramsFor(proof)
	if err != nil {
		return Commitments{}, err
	}
	want, err := commp.Aggregate(abi.PaddedPieceSize(par.size()), t.Pieces)
	if err != nil {
		return Commitments{}, fmt.Errorf("update: %w", err)
	}
	out, err := par.encode(ctx, want, &t, p)
	if err != nil {
		return Commitments{}, fmt.Errorf("update: encoding: %w", err)
	}
	return out, nil
}

func (par *params) encode(ctx context.Context, want [32]byte, t *EncodeTask, p porep.Progress) (c Commitments, err error) {
	if err := par.checkFiles(t.Old, t.Data, t.Sealed, t.Cache, "old replica"); err != nil {
		return c, err
	}
	oldLast := [32]byte{}
	if c.CommC, oldLast, err = porep.ReadAux(t.Old.Cache); err != nil {
		return c, fmt.Errorf("old cache: %w", err)
	}
	if c.CommROld, err = merkle.HashNodes(c.CommC, oldLast); err != nil {
		return c, fmt.Errorf("old p_aux: %w", err)
	}
	if c.CommDNew, err = porep.WriteTreeD(ctx, par.shape, t.Data, t.Cache, t.Kernel, p); err != nil {
		return c, err
	}
	if c.CommDNew != want {
		return c, fmt.Errorf("%w: CommD is %x, the pieces give %x", porep.ErrPieces, c.CommDNew, want)
	}
	rhos, err := par.rhos(c.CommDNew, c.CommROld)
	if err != nil {
		return c, err
	}
	m := mixer{
		par:  par,
		rhos: rhos,
		from: t.Old.Sealed,
		data: t.Data,
		to:   t.Sealed,
		what: "old replica",
	}
	if c.CommRLastNew, err = porep.WriteTreeR(ctx, par.shape, m.leaves(), t.Cache, t.Kernel, p); err != nil {
		return c, err
	}
	if err := t.Sealed.Sync(); err != nil {
		return c, fmt.Errorf("syncing the updated replica: %w", err)
	}
	if c.CommRNew, err = merkle.HashNodes(c.CommC, c.CommRLastNew); err != nil {
		return c, err
	}
	return c, porep.WriteAux(par.shape, t.Cache, t.Old.Cache, c.CommC, c.CommRLastNew)
}

func read(f io.ReaderAt, dst []poseidon.Element, raw []byte, start uint64) error {
	raw = raw[:len(dst)*merkle.NodeSize]
	if err := merkle.ReadFullAt(f, raw, int64(start)*merkle.NodeSize); err != nil {
		return fmt.Errorf("reading %d bytes at %d: %w", len(raw), start*merkle.NodeSize, err)
	}
	return poseidon.DecodeRow(dst, raw)
}

// errCID is the cause of a refusal of commitment CIDs.
var errCID = errors.New("no commitment of the expected kind")

func commitments(commROld, commDNew cid.Cid) (r, d [32]byte, err error) {
	rb, err := commcid.CIDToReplicaCommitmentV1(commROld)
	if err != nil || len(rb) != 32 {
		return r, d, fmt.Errorf("CommR %s: %w", commROld, errCID)
	}
	db, err := commcid.CIDToDataCommitmentV1(commDNew)
	if err != nil || len(db) != 32 {
		return r, d, fmt.Errorf("CommD %s: %w", commDNew, errCID)
	}
	return [32]byte(rb), [32]byte(db), nil
}

// DecodeTask is a range of an updated sector's data to take out of its replica.
type DecodeTask struct {
	// CommROld is the commitment to the replica before the update, CommDNew that to
	// the data that the update put in.
	CommROld, CommDNew cid.Cid
	// Old is the replica as it was before the update; for an empty sector its last
	// layer of labels does.
	Old io.ReaderAt
	// Updated is the replica that Encode wrote.
	Updated io.ReaderAt
	// Out is written the fr32-padded bytes of the range, in order.
	Out io.Writer
	// Offset and Size are the range in padded bytes, multiples of 128.
	Offset, Size abi.PaddedPieceSize
}

// Decode writes the fr32-padded bytes [Offset, Offset+Size) of an updated
// sector's data to Out. The result is not checked against a piece commitment:
// that is for whoever knows the piece.
func Decode(ctx context.Context, proof abi.RegisteredUpdateProof, t DecodeTask) error {
	par, err := paramsFor(proof)
	if err != nil {
		return err
	}
	r, d, err := commitments(t.CommROld, t.CommDNew)
	if err != nil {
		return fmt.Errorf("update: decoding: %w", err)
	}
	total := abi.PaddedPieceSize(par.size())
	if t.Offset%128 != 0 || t.Size%128 != 0 || t.Offset > total || t.Size > total-t.Offset {
		return fmt.Errorf("update: decoding %d bytes at %d: want multiples of 128 within %d", t.Size, t.Offset, total)
	}
	rhos, err := par.rhos(d, r)
	if err != nil {
		return fmt.Errorf("update: decoding: %w", err)
	}
	if err := par.decode(ctx, fr.BatchInvert(rhos), &t); err != nil {
		return fmt.Errorf("update: decoding: %w", err)
	}
	return nil
}

// decode is Decode with the inverses of the factors of the data.
func (par *params) decode(ctx context.Context, inverse []poseidon.Element, t *DecodeTask) error {
	const batch = 4096
	raw := make([]byte, batch*merkle.NodeSize)
	key, data := make([]poseidon.Element, batch), make([]poseidon.Element, batch)
	start, end := uint64(t.Offset)/merkle.NodeSize, uint64(t.Offset+t.Size)/merkle.NodeSize
	for start < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(batch, end-start)
		if err := read(t.Old, key[:n], raw, start); err != nil {
			return fmt.Errorf("old replica: %w", err)
		}
		if err := read(t.Updated, data[:n], raw, start); err != nil {
			return fmt.Errorf("updated replica: %w", err)
		}
		for i := range n {
			data[i].Sub(&data[i], &key[i])
			data[i].Mul(&data[i], par.rho(inverse, start+i))
		}
		poseidon.EncodeRow(raw[:n*merkle.NodeSize], data[:n])
		if _, err := t.Out.Write(raw[:n*merkle.NodeSize]); err != nil {
			return fmt.Errorf("writing decoded bytes: %w", err)
		}
		start += n
	}
	return nil
}
