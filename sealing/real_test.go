package sealing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/api"
	"quarry/proofs/commp"
	"quarry/proofs/fr32"
	"quarry/proofs/porep"
	"quarry/proofs/porep/poreptest"
)

// bench seals for real, in memory, by the tasks that sealing submits.
type bench struct {
	data    map[string][]byte // URL -> payload
	sectors map[abi.SectorID]*benchSector
}

type benchSector struct {
	unsealed []byte
	sealed   *poreptest.File
	cache    *poreptest.Files

	updated     *poreptest.File
	updateCache *poreptest.Files
}

func (b *bench) sector(ref api.SectorRef) *benchSector {
	if b.sectors[ref.ID] == nil {
		size, _ := ref.ProofType.SectorSize()
		b.sectors[ref.ID] = &benchSector{unsealed: make([]byte, size), sealed: poreptest.NewFile(int64(size)), cache: poreptest.NewFiles()}
	}
	return b.sectors[ref.ID]
}

func (b *bench) compute(spec api.TaskSpec) (any, error) {
	sec := b.sector(spec.Sector)
	id := porep.Sector{Proof: spec.Sector.ProofType, Miner: spec.Sector.ID.Miner, Number: spec.Sector.ID.Number}
	ctx := context.Background()
	switch spec.Type {
	case api.TaskAddPiece:
		var p api.AddPieceParams
		if err := json.Unmarshal(spec.Params, &p); err != nil {
			return nil, err
		}
		return struct{}{}, b.addPiece(sec, p)
	case api.TaskPreCommit1:
		var p api.PreCommit1Params
		if err := json.Unmarshal(spec.Params, &p); err != nil {
			return nil, err
		}
		return porep.PreCommit1(ctx, porep.PreCommit1Task{
			Sector:   id,
			Ticket:   p.Ticket,
			Pieces:   p.Pieces,
			Unsealed: bytes.NewReader(sec.unsealed),
			Cache:    sec.cache,
		}, porep.LabelOptions{}, nil)
	case api.TaskPreCommit2:
		var p api.PreCommit2Params
		var pc1 porep.PreCommit1Out
		if err := json.Unmarshal(spec.Params, &p); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(p.PreCommit1Out.RawMessage, &pc1); err != nil {
			return nil, err
		}
		c, err := porep.PreCommit2(ctx, porep.PreCommit2Task{
			Sector:   id,
			PC1:      pc1,
			Unsealed: bytes.NewReader(sec.unsealed),
			Sealed:   sec.sealed,
			Cache:    sec.cache,
		}, nil)
		if err != nil {
			return nil, err
		}
		if porep.Synthetic(id.Proof) {
			err := porep.Synthesize(ctx, porep.SynthesizeTask{
				Sector:      id,
				Ticket:      pc1.Ticket[:],
				Commitments: c,
				Sealed:      sec.sealed,
				Cache:       sec.cache,
			}, nil)
			if err := errors.Join(err, porep.ClearCache(sec.cache, id.Proof)); err != nil {
				return nil, err
			}
		}
		raw, err := json.Marshal(c)
		return api.PreCommit2Result{SealedCID: api.CidString(c.SealedCID().String()),
			UnsealedCID: api.CidString(c.UnsealedCID().String()), Commitments: api.SealCommitments{RawMessage: raw}}, err
	case api.TaskCommit1:
		var p api.Commit1Params
		if err := json.Unmarshal(spec.Params, &p); err != nil {
			return nil, err
		}
		req := porep.ProveRequest{Ticket: p.Ticket, Seed: p.Seed}
		if err := json.Unmarshal(p.Commitments.RawMessage, &req.Commitments); err != nil {
			return nil, err
		}
		blob, err := porep.Prove(ctx, id, req, sec.sealed, sec.cache)
		return api.Commit1Result{Vanilla: putBulk(blob)}, err
	case api.TaskUpdate, api.TaskProveUpdate1:
		return sec.update(ctx, spec)
	}
	return struct{}{}, nil
}

func (b *bench) addPiece(sec *benchSector, p api.AddPieceParams) error {
	var off abi.PaddedPieceSize
	for _, e := range p.Existing {
		off += e.Size
	}
	raw := make([]byte, p.Piece.Size.Unpadded())
	copy(raw, b.data[p.Data.URL])
	got, err := commp.SumPadded(context.Background(), bytes.NewReader(raw), p.Piece.Size)
	if err != nil {
		return err
	}
	if got.CID != p.Piece.PieceCID {
		return &api.ErrPieceMismatch{Want: p.Piece.PieceCID.String(), Got: got.CID.String()}
	}
	fr32.Pad(raw, sec.unsealed[off:off+p.Piece.Size])
	return nil
}

// verify is the proof system call of the miner actor: randomness drawn by the
// chain itself, never taken from the message.
func verify(pre *miner.SectorPreCommitOnChainInfo, unsealed abi.PieceInfo, blob []byte) error {
	ok, err := porep.Verify(context.Background(), proof.SealVerifyInfo{
		SealProof:  pre.Info.SealProof,
		SectorID:   abi.SectorID{Miner: 1000, Number: pre.Info.SectorNumber},
		Randomness: abi.SealRandomness(draw(crypto.DomainSeparationTag_SealRandomness, pre.Info.SealRandEpoch, minerEntropy())),
		InteractiveRandomness: abi.InteractiveSealRandomness(draw(crypto.DomainSeparationTag_InteractiveSealChallengeSeed,
			pre.PreCommitEpoch+testDelay, minerEntropy())),
		SealedCID:   pre.Info.SealedCID,
		UnsealedCID: unsealed.PieceCID,
	}, blob)
	if err == nil && !ok {
		err = fmt.Errorf("the proof of sector %d is wrong", pre.Info.SectorNumber)
	}
	return err
}

// TestRealProofs seals a 2 KiB sector with two deals and one without, and has
// the chain verify both proofs.
func TestRealProofs(t *testing.T) { realProofs(t, abi.RegisteredSealProof_StackedDrg2KiBV1_1) }

// TestRealSyntheticProofs does the same with synthetic PoRep.
func TestRealSyntheticProofs(t *testing.T) {
	p, err := SyntheticProofType(abi.RegisteredSealProof_StackedDrg2KiBV1_1)
	if err != nil {
		t.Fatal(err)
	}
	realProofs(t, p)
}

func TestSyntheticProofType(t *testing.T) {
	for p := abi.RegisteredSealProof_StackedDrg2KiBV1_1; p <= abi.RegisteredSealProof_StackedDrg64GiBV1_1; p++ {
		got, err := SyntheticProofType(p)
		if err != nil || !porep.Synthetic(got) {
			t.Fatalf("%d: %d, %v", p, got, err)
		}
		a, _ := p.SectorSize()
		if b, err := got.SectorSize(); err != nil || a != b {
			t.Errorf("%d: sectors of %d, not %d", p, b, a)
		}
	}
	if _, err := SyntheticProofType(abi.RegisteredSealProof_StackedDrg2KiBV1); err == nil {
		t.Error("the first version has no synthetic form")
	}
}

func realProofs(t *testing.T, typ abi.RegisteredSealProof) {
	w := newWorld()
	w.hold = true
	b := &bench{data: map[string][]byte{}, sectors: map[abi.SectorID]*benchSector{}}
	w.computeWith, w.verifyWith = b.compute, verify
	w.proof = typ
	cfg := testConfig()
	cfg.ProofType = w.proof
	s := open(t, w, memStore(), cfg)
	start(t, s)
	var last api.PiecePlacement
	for i, n := range []int{100, 900} {
		payload := bytes.Repeat([]byte{byte(i + 1), 0xff}, n/2)
		p, err := commp.Sum(bg, bytes.NewReader(payload))
		if err != nil {
			t.Fatal(err)
		}
		r := aPiece(t, fmt.Sprint("deal", i), p.PaddedSize)
		r.Piece.PieceCID, r.Data.Size = p.CID, uint64(n)
		b.data[r.Data.URL] = payload
		if last, err = s.SectorAddPiece(bg, r); err != nil {
			t.Fatal(err)
		}
	}
	if last.Offset != 1024 || last.Size != 1024 {
		t.Fatalf("second piece at %+v", last)
	}
	w.release()
	w.setHeight(1020)
	cc, err := s.PledgeSector(bg)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []abi.SectorNumber{last.Sector.Number, cc.Number} {
		if info := untilState(t, s, n, api.SectorProving); info.CommR == nil || info.Retries != 0 {
			t.Errorf("sector %d: %+v", n, info)
		}
	}
}
