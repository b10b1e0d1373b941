package circuit

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/commp"
	"quarry/proofs/fr32"
	"quarry/proofs/porep"
	"quarry/proofs/porep/poreptest"
	"quarry/proofs/post"
	"quarry/proofs/r1cs"
	"quarry/proofs/update"
)

const miner = abi.ActorID(1000)

var draw = abi.PoStRandomness(bytes.Repeat([]byte{0x33}, 32))

// must are results of things that tests build on.
func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// walksAlone skips a test that walks through a big circuit in one goroutine, where
// the race detector has nothing to find and takes minutes.
func walksAlone(t testing.TB) {
	t.Helper()
	if raceDetector {
		t.Skip("one goroutine only: run without the race detector")
	}
}

var sealedOnce sync.Map // abi.RegisteredSealProof and number -> func() (*poreptest.Sealed, error)

type sectorKey struct {
	proof  abi.RegisteredSealProof
	number abi.SectorNumber
}

// sealed is a sector with the payload of the reference vectors, sealed once for
// all tests.
func sealed(t testing.TB, p abi.RegisteredSealProof, n abi.SectorNumber) *poreptest.Sealed {
	t.Helper()
	f, _ := sealedOnce.LoadOrStore(sectorKey{p, n}, sync.OnceValues(func() (*poreptest.Sealed, error) {
		size, err := p.SectorSize()
		if err != nil {
			return nil, err
		}
		return poreptest.SealData(context.Background(), porep.Sector{Proof: p, Miner: miner, Number: n}, poreptest.VectorData(uint64(size)))
	}))
	return must[*poreptest.Sealed](t)(f.(func() (*poreptest.Sealed, error))())
}

func access(s *poreptest.Sealed) post.SectorAccess {
	return post.SectorAccess{Info: s.Info(), Sealed: s.Sealed, Cache: s.Cache}
}

// statement is one claim of any kind with its vanilla proof.
type statement struct {
	kind     Kind
	blob     []byte
	circuits func(blob []byte) ([]r1cs.Circuit, error)
	inputs   func() ([][]r1cs.Element, error)
}

func porepStatement(t testing.TB, p abi.RegisteredSealProof) *statement {
	t.Helper()
	s := sealed(t, p, 42)
	blob := must[[]byte](t)(porep.Prove(context.Background(), s.Sector, s.Request, s.Sealed, s.Cache))
	info := s.VerifyInfo()
	return &statement{KindPoRep, blob,
		func(b []byte) ([]r1cs.Circuit, error) { return PoRep(info, b) },
		func() ([][]r1cs.Element, error) { return PoRepInputs(info) }}
}

func winningStatement(t testing.TB, p abi.RegisteredSealProof) *statement {
	t.Helper()
	s := sealed(t, p, 42)
	blob := must[[]byte](t)(post.ProveWinning(context.Background(), miner, draw, []post.SectorAccess{access(s)}))
	info := proof.WinningPoStVerifyInfo{Randomness: draw, Prover: miner, ChallengedSectors: []proof.SectorInfo{s.Info()}}
	return &statement{KindWinning, blob,
		func(b []byte) ([]r1cs.Circuit, error) { return Winning(info, b) },
		func() ([][]r1cs.Element, error) { return WinningInputs(info) }}
}

// windowStatement is about sectors 42, 43, ….
func windowStatement(t testing.TB, p abi.RegisteredSealProof, version abi.RegisteredPoStProof, sectors int) *statement {
	t.Helper()
	info := proof.WindowPoStVerifyInfo{Randomness: draw, Prover: miner, Proofs: []proof.PoStProof{{PoStProof: version}}}
	var all []post.SectorAccess
	for n := range sectors {
		s := sealed(t, p, abi.SectorNumber(42+n))
		info.ChallengedSectors = append(info.ChallengedSectors, s.Info())
		all = append(all, access(s))
	}
	blob, skipped, err := post.ProveWindow(context.Background(), miner, draw, all)
	if err != nil || len(skipped) > 0 {
		t.Fatalf("skipped %v: %v", skipped, err)
	}
	return &statement{KindWindow, blob,
		func(b []byte) ([]r1cs.Circuit, error) { return Window(info, b) },
		func() ([][]r1cs.Element, error) { return WindowInputs(info) }}
}

func updateStatement(t testing.TB, p abi.RegisteredUpdateProof) *statement {
	t.Helper()
	ctx := context.Background()
	old := sealed(t, abi.RegisteredSealProof_StackedDrg2KiBV1_1+abi.RegisteredSealProof(p), 42)
	raw := poreptest.VectorData(uint64(len(old.Unsealed)))
	for i := range raw {
		raw[i] ^= 0x5a
	}
	data := make([]byte, len(old.Unsealed))
	fr32.Pad(raw, data)
	piece := must[commp.Piece](t)(commp.Sum(ctx, bytes.NewReader(raw)))
	file, cache := poreptest.NewFile(int64(len(data))), poreptest.NewFiles()
	before := update.Replica{Sealed: old.Sealed, Cache: old.Cache}
	com := must[update.Commitments](t)(update.Encode(ctx, p, update.EncodeTask{
		Old:    before,
		Data:   bytes.NewReader(data),
		Pieces: []abi.PieceInfo{{Size: piece.PaddedSize, PieceCID: piece.CID}},
		Sealed: file,
		Cache:  cache,
	}, nil))
	blob := must[[]byte](t)(update.Prove(ctx, p, com, before, update.Replica{Sealed: file, Cache: cache}))
	info := proof.ReplicaUpdateInfo{UpdateProofType: p, OldSealedSectorCID: old.Request.SealedCID(),
		NewSealedSectorCID: com.SealedCID(), NewUnsealedSectorCID: com.UnsealedCID()}
	return &statement{KindUpdate, blob,
		func(b []byte) ([]r1cs.Circuit, error) { return Update(info, b) },
		func() ([][]r1cs.Element, error) { return UpdateInputs(info) }}
}
