package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/porep"
	"quarry/proofs/post"
	"quarry/proofs/update"
)

// ready is a sealed sector of a registered kind that proofs are made of.
type ready struct {
	*sealing
	proof    abi.RegisteredSealProof
	miner    abi.ActorID
	sealInfo proof.SealVerifyInfo
}

// sealReady seals a sector of a size, full of a stream, in a new directory below
// dir. The phases of its sealing are not part of what is measured.
func sealReady(ctx context.Context, size abi.SectorSize, dir string, deps Deps) (*ready, error) {
	p, err := SealProofOf(size)
	if err != nil {
		return nil, err
	}
	way, err := porep.CustomOf(p, defaultMiner)
	if err != nil {
		return nil, err
	}
	in := SealInput{
		Way:    way,
		Number: 1,
		Ticket: fill(0x11),
		Seed:   fill(0x22),
		Data:   Stream(1),
	}
	dir = filepath.Join(dir, "sector")
	if err := os.Mkdir(dir, 0o755); err != nil { // as sector directories are
		return nil, err
	}
	s, err := seal(ctx, in, dir, deps)
	if err != nil {
		if s != nil {
			s.close()
		}
		return nil, err
	}
	s.sector = porep.Sector{Proof: p, Miner: defaultMiner, Number: in.Number}
	s.rec.Phases = nil
	r := &ready{sealing: s, proof: p, miner: defaultMiner}
	r.sealInfo, _ = s.info() // it is of a registered kind
	return r, nil
}

// NeedReady is what sealing a sector to make proofs of takes.
func NeedReady(size abi.SectorSize) (Need, error) {
	p, err := SealProofOf(size)
	if err != nil {
		return Need{}, err
	}
	return needOf(porep.Sector{Proof: p}, 0)
}

func fill(b byte) (out [32]byte) {
	for i := range out {
		out[i] = b
	}
	return out
}

// access is the sector as n sectors with numbers from 1 on: proofs of spacetime
// do not look at how a replica came about.
func (r *ready) access(n int, sealed reader, cache porep.Files) []post.SectorAccess {
	out := make([]post.SectorAccess, n)
	for i := range out {
		out[i] = post.SectorAccess{
			Info:   proof.SectorInfo{SealProof: r.proof, SectorNumber: abi.SectorNumber(i + 1), SealedCID: r.req.SealedCID()},
			Sealed: sealed, Cache: cache,
		}
	}
	return out
}

func (r *ready) winningInfo(p abi.RegisteredPoStProof, rand abi.PoStRandomness) proof.WinningPoStVerifyInfo {
	return proof.WinningPoStVerifyInfo{Randomness: rand, Proofs: []proof.PoStProof{{PoStProof: p}}, Prover: r.miner,
		ChallengedSectors: infos(r.access(1, r.sealed, r.cache))}
}

func (r *ready) windowInfo(p abi.RegisteredPoStProof, rand abi.PoStRandomness, n int) proof.WindowPoStVerifyInfo {
	return proof.WindowPoStVerifyInfo{Randomness: rand, Proofs: []proof.PoStProof{{PoStProof: p}}, Prover: r.miner,
		ChallengedSectors: infos(r.access(n, r.sealed, r.cache))}
}

func infos(list []post.SectorAccess) []proof.SectorInfo {
	out := make([]proof.SectorInfo, len(list))
	for i, a := range list {
		out[i] = a.Info
	}
	return out
}

// updated puts the sector's own data into it once more, as an update would with
// new data: the arithmetic is the same. It gives the vanilla proof.
func (r *ready) updated(ctx context.Context) (info proof.ReplicaUpdateInfo, vanilla []byte, err error) {
	p, err := r.proof.RegisteredUpdateProof()
	if err != nil {
		return info, nil, err
	}
	dir := filepath.Join(r.dir, "update-cache")
	if err := os.Mkdir(dir, 0o755); err != nil { // as sector directories are
		return info, nil, err
	}
	sealed, err := r.deps.Open(filepath.Join(r.dir, "update"), rw)
	if err != nil {
		return info, nil, err
	}
	defer func() { _ = sealed.Close() }()
	old, cache := update.Replica{Sealed: r.sealed, Cache: r.cache}, r.deps.Cache(dir)
	c, err := update.Encode(ctx, p, update.EncodeTask{
		Old:    old,
		Data:   r.data,
		Pieces: []abi.PieceInfo{{Size: r.piece.PaddedSize, PieceCID: r.piece.CID}},
		Sealed: sealed,
		Cache:  cache,
	}, r.deps.step)
	if err != nil {
		return info, nil, fmt.Errorf("updating the sector: %w", err)
	}
	if vanilla, err = update.Prove(ctx, p, c, old, update.Replica{Sealed: sealed, Cache: cache}); err != nil {
		return info, nil, fmt.Errorf("proving the update: %w", err)
	}
	return proof.ReplicaUpdateInfo{UpdateProofType: p, OldSealedSectorCID: r.req.SealedCID(),
		NewSealedSectorCID: c.SealedCID(), NewUnsealedSectorCID: c.UnsealedCID()}, vanilla, nil
}

// draw is randomness for a proof of spacetime; the two top bits are clear, as the
// reference has them.
func draw() abi.PoStRandomness {
	r := fill(0x33)
	return r[:]
}
