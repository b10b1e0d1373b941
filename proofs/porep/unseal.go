package porep

import (
	"bytes"
	"context"
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

// Unseal writes the fr32-padded bytes [offset, offset+size) of the sector's data
// to out. It computes all labels again, whatever the range, so it costs as much
// as PreCommit1; it needs neither cache nor unsealed file. offset and size are
// padded bytes and multiples of 128. The result is not checked against a piece
// commitment: that is for whoever knows the piece.
func Unseal(ctx context.Context, s Sector, ticket abi.SealRandomness, commD cid.Cid, sealed io.ReaderAt, out io.Writer, offset, size abi.PaddedPieceSize) error {
	par, err := paramsFor(s.Proof)
	if err != nil {
		return err
	}
	d, err := commcid.CIDToDataCommitmentV1(commD)
	if err != nil {
		return fmt.Errorf("porep: unsealing %s: CommD %s: %w", s, commD, err)
	}
	total := abi.PaddedPieceSize(par.size())
	if len(ticket) != 32 || offset%128 != 0 || size%128 != 0 || offset > total || size > total-offset {
		return fmt.Errorf("porep: unsealing %s: ticket of %d bytes, range of %d bytes at %d: want 32 bytes and multiples of 128 within %d",
			s, len(ticket), size, offset, total)
	}
	if err := par.unseal(ctx, s, [32]byte(ticket), [32]byte(d), sealed, out, uint64(offset), uint64(size)); err != nil {
		return fmt.Errorf("porep: unsealing %s: %w", s, err)
	}
	return nil
}

func (par *params) unseal(ctx context.Context, s Sector, ticket, commD [32]byte, sealed io.ReaderAt, out io.Writer, offset, size uint64) error {
	if commD == ([32]byte{}) {
		return errZero
	}
	id := sdr.ReplicaID(sdr.ProverID(uint64(s.Miner)), uint64(s.Number), ticket, commD, par.porepID)
	labels, err := par.labels(ctx, id, nil, nil)
	if err != nil {
		return err
	}
	return Decode(ctx, bytes.NewReader(labels), sealed, out, offset, size)
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
