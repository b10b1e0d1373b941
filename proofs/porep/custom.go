package porep

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/merkle"
	"quarry/proofs/sdr"
)

// Custom is a way of sealing that need not be a registered one: any PoRep id,
// any prover id, and the small sector sizes that no chain knows. It is for
// comparing with other implementations and for measuring; no chain takes such a
// sector. There is no Groth16 proof and no proof of spacetime of it.
type Custom struct {
	PorepID        [32]byte
	ProverID       [32]byte       // in place of the one made from Sector.Miner
	Size           abi.SectorSize // bytes
	Legacy         bool           // graphs of api version 1.0.0
	Synthetic      bool           // FIP-0059
	NonInteractive bool           // FIP-0092
}

// CustomOf is p as a Custom, to change some of it.
func CustomOf(p abi.RegisteredSealProof, miner abi.ActorID) (Custom, error) {
	par, err := paramsFor(p)
	if err != nil {
		return Custom{}, err
	}
	return Custom{
		PorepID:        par.porepID,
		ProverID:       sdr.ProverID(uint64(miner)),
		Size:           abi.SectorSize(par.size()),
		Legacy:         par.legacy,
		Synthetic:      par.feature == synthetic,
		NonInteractive: par.feature == nonInteractive,
	}, nil
}

func (c *Custom) params() (params, error) {
	f := interactive
	switch {
	case c.Synthetic && c.NonInteractive:
		return params{}, errors.New("porep: a sector is synthetic or non-interactive, not both")
	case c.Legacy && (c.Synthetic || c.NonInteractive):
		return params{}, errors.New("porep: api version 1.0.0 knows neither synthetic nor non-interactive sectors")
	case c.Synthetic:
		f = synthetic
	case c.NonInteractive:
		f = nonInteractive
	}
	if c.Size%merkle.NodeSize != 0 {
		return params{}, fmt.Errorf("porep: no sector has %d bytes", c.Size)
	}
	par, err := newParams(0, uint64(c.Size)/merkle.NodeSize, c.Legacy, f)
	if err != nil {
		return params{}, fmt.Errorf("porep: sectors of %d bytes: %w", c.Size, err)
	}
	par.porepID = c.PorepID
	return par, nil
}

// params is how s is sealed.
func (s Sector) params() (params, error) {
	if s.Custom != nil {
		return s.Custom.params()
	}
	return paramsFor(s.Proof)
}

// paramsWith is how s is sealed with a ticket, which must have 32 bytes.
func (s Sector) paramsWith(ticket abi.SealRandomness) (params, error) {
	par, err := s.params()
	if err == nil && len(ticket) != 32 {
		err = fmt.Errorf("porep: %s: the ticket has %d bytes, not 32", s, len(ticket))
	}
	return par, err
}

// paramsFor is how s is sealed, if r has all that a proof of it takes.
func (r *ProveRequest) paramsFor(s Sector) (params, error) {
	par, err := s.paramsWith(r.Ticket)
	if err == nil && len(r.Seed) != 32 {
		err = fmt.Errorf("porep: %s: the seed has %d bytes, not 32", s, len(r.Seed))
	}
	return par, err
}

func (s Sector) proverID() [32]byte {
	if s.Custom != nil {
		return s.Custom.ProverID
	}
	return sdr.ProverID(uint64(s.Miner))
}

// Dimensions are the sizes of s.
func (s Sector) Dimensions() (Dimensions, error) {
	par, err := s.params()
	if err != nil {
		return Dimensions{}, err
	}
	return Dimensions{Shape: par.shape, Layers: par.layers, Partitions: par.partitions, Challenges: par.perPartition}, nil
}

// SyntheticSize is the length in bytes of the file that Synthesize makes, 0 for
// sectors without one.
func (s Sector) SyntheticSize() (int64, error) {
	par, err := s.params()
	if err != nil || par.feature != synthetic {
		return 0, err
	}
	return par.synthFileSize(), nil
}

// Challenges are the nodes that a proof of s opens, by partition.
func (s Sector) Challenges(req ProveRequest) ([][]uint64, error) {
	par, err := req.paramsFor(s)
	if err != nil {
		return nil, err
	}
	id := par.replicaID(s, [32]byte(req.Ticket), req.CommD)
	out := make([][]uint64, par.partitions)
	for k := range out {
		out[k] = par.challenges(id, req.CommR, [32]byte(req.Seed), k)
	}
	return out, nil
}

// VerifySector is Verify for any sector, also a Custom one. Of the commitments
// only CommR and CommD count.
func VerifySector(ctx context.Context, s Sector, req ProveRequest, blob []byte) (bool, error) {
	par, err := s.params()
	if err != nil {
		return false, err
	}
	if len(req.Ticket) != 32 || len(req.Seed) != 32 {
		return false, nil
	}
	return par.verify(ctx, par.publicOf(s, &req), blob)
}

// describe names the way of sealing in errors.
func (c *Custom) describe() string {
	id := binary.LittleEndian.Uint64(c.PorepID[:])
	return fmt.Sprintf("%d bytes, PoRep id %d…", c.Size, id)
}
