package paramcache

import (
	"bytes"
	"context"
	"errors"
	"math/rand"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"

	"quarry/proofs/circuit"
	"quarry/proofs/commp"
	"quarry/proofs/fr32"
	"quarry/proofs/porep"
	"quarry/proofs/porep/poreptest"
	"quarry/proofs/post"
	"quarry/proofs/r1cs"
	"quarry/proofs/snark"
	"quarry/proofs/update"
)

const (
	testMiner = abi.ActorID(1000)
	sealType  = abi.RegisteredSealProof_StackedDrg2KiBV1_1
)

var (
	draw   = abi.PoStRandomness(bytes.Repeat([]byte{0x33}, 32))
	random = rand.New(rand.NewSource(3))
)

// realCache is the user's cache, with what a circuit of 2 KiB sectors needs; what
// is missing is generated, in minutes, and stays.
func realCache(t *testing.T, name string, blank func() (r1cs.Circuit, error)) *Cache {
	t.Helper()
	if os.Getenv("QUARRY_LONG") == "" {
		t.Skip("set QUARRY_LONG=1 to prove with real parameters; they are generated if need be, a gigabyte in " + EnvDir)
	}
	c := newCache(t, "", true)
	circuit, err := blank()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Generate(t.Context(), name, circuit, nil); err != nil && !errors.Is(err, ErrPresent) {
		t.Fatal(err)
	}
	return c
}

func sealedSector(t *testing.T, n abi.SectorNumber) *poreptest.Sealed {
	t.Helper()
	s, err := poreptest.Seal(t.Context(), porep.Sector{Proof: sealType, Miner: testMiner, Number: n})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// timed proves, and tells how long it took.
func timed(t *testing.T, prove func() ([]byte, error)) []byte {
	t.Helper()
	began := time.Now()
	out, err := prove()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes in %s", len(out), time.Since(began).Round(time.Millisecond))
	return out
}

// flips wants every single-bit change refused. check verifies a copy of p and of
// the CIDs of the statement.
func flips(t *testing.T, n int, p []byte, cids []cid.Cid, check func([]byte, []cid.Cid) (bool, error)) {
	t.Helper()
	if ok, err := check(p, cids); err != nil || !ok {
		t.Fatalf("the good proof: %v, %v", ok, err)
	}
	for i := range n {
		q, c, what := slices.Clone(p), slices.Clone(cids), "proof"
		bit := byte(1 << random.Intn(8))
		if i%4 == 0 {
			k := random.Intn(len(c))
			raw := c[k].Bytes()
			raw[len(raw)-1-random.Intn(32)] ^= bit
			if err := c[k].UnmarshalBinary(raw); err != nil {
				t.Fatal(err)
			}
			what = "commitment"
		} else {
			q[random.Intn(len(q))] ^= bit
		}
		if ok, err := check(q, c); err != nil || ok {
			t.Fatalf("change %d, of the %s: %v, %v", i, what, ok, err)
		}
	}
}

func TestSealProofs(t *testing.T) {
	name, err := circuit.PoRepName(sealType)
	if err != nil {
		t.Fatal(err)
	}
	keys := realCache(t, name, func() (r1cs.Circuit, error) { return circuit.BlankPoRep(sealType) })
	agg := proof.AggregateSealVerifyProofAndInfos{Miner: testMiner, SealProof: sealType,
		AggregateProof: abi.RegisteredAggregationProof_SnarkPackV2}
	var parts [][]byte
	for n := range abi.SectorNumber(3) {
		s := sealedSector(t, n)
		vanilla, err := porep.Prove(t.Context(), s.Sector, s.Request, s.Sealed, s.Cache)
		if err != nil {
			t.Fatal(err)
		}
		info := s.VerifyInfo()
		info.Proof = timed(t, func() ([]byte, error) { return snark.ProveSeal(t.Context(), keys, info, vanilla, snark.Options{}) })
		parts = append(parts, info.Proof)
		agg.Infos = append(agg.Infos, proof.AggregateSealVerifyInfo{
			Number:                n,
			Randomness:            info.Randomness,
			InteractiveRandomness: info.InteractiveRandomness,
			SealedCID:             info.SealedCID,
			UnsealedCID:           info.UnsealedCID,
		})
		if n == 0 {
			flips(t, 1000, info.Proof, []cid.Cid{info.SealedCID, info.UnsealedCID}, func(p []byte, c []cid.Cid) (bool, error) {
				other := info
				other.Proof, other.SealedCID, other.UnsealedCID = p, c[0], c[1]
				return snark.VerifySeal(t.Context(), keys, other)
			})
		}
	}
	aggregate(t, keys, agg, parts)
}

func aggregate(t *testing.T, keys *Cache, agg proof.AggregateSealVerifyProofAndInfos, parts [][]byte) {
	if err := keys.GenerateSRS(t.Context(), 1024); err != nil && !errors.Is(err, ErrPresent) {
		t.Fatal(err)
	}
	agg.Proof = timed(t, func() ([]byte, error) { return snark.Aggregate(t.Context(), keys, agg, parts, snark.Options{}) })
	cids := []cid.Cid{agg.Infos[0].SealedCID, agg.Infos[1].UnsealedCID, agg.Infos[2].SealedCID}
	flips(t, 1000, agg.Proof, cids, func(p []byte, c []cid.Cid) (bool, error) {
		other := agg
		other.Proof, other.Infos = p, slices.Clone(agg.Infos)
		other.Infos[0].SealedCID, other.Infos[1].UnsealedCID, other.Infos[2].SealedCID = c[0], c[1], c[2]
		return snark.VerifyAggregate(t.Context(), keys, other)
	})
	for name, change := range map[string]func(*proof.AggregateSealVerifyProofAndInfos){
		"fewer sectors": func(a *proof.AggregateSealVerifyProofAndInfos) { a.Infos = a.Infos[:2] },
		"another order": func(a *proof.AggregateSealVerifyProofAndInfos) {
			a.Infos = []proof.AggregateSealVerifyInfo{a.Infos[1], a.Infos[0], a.Infos[2]}
		},
		"version 1": func(a *proof.AggregateSealVerifyProofAndInfos) {
			a.AggregateProof = abi.RegisteredAggregationProof_SnarkPackV1
		},
		"another miner": func(a *proof.AggregateSealVerifyProofAndInfos) { a.Miner++ },
	} {
		other := agg
		change(&other)
		if ok, err := snark.VerifyAggregate(t.Context(), keys, other); err != nil || ok {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
}

func TestWinningProof(t *testing.T) {
	kind := abi.RegisteredPoStProof_StackedDrgWinning2KiBV1
	name, err := circuit.WinningName(kind)
	if err != nil {
		t.Fatal(err)
	}
	keys := realCache(t, name, func() (r1cs.Circuit, error) { return circuit.BlankWinning(kind) })
	s := sealedSector(t, 1)
	vanilla, err := post.ProveWinning(t.Context(), testMiner, draw, []post.SectorAccess{{Info: s.Info(), Sealed: s.Sealed, Cache: s.Cache}})
	if err != nil {
		t.Fatal(err)
	}
	info := proof.WinningPoStVerifyInfo{Randomness: draw, Prover: testMiner, Proofs: []proof.PoStProof{{PoStProof: kind}},
		ChallengedSectors: []proof.SectorInfo{s.Info()}}
	made := timed(t, func() ([]byte, error) { return snark.ProveWinning(t.Context(), keys, info, vanilla, snark.Options{}) })
	flips(t, 1000, made, []cid.Cid{s.Info().SealedCID}, func(p []byte, c []cid.Cid) (bool, error) {
		other := info
		other.Proofs = []proof.PoStProof{{PoStProof: kind, ProofBytes: p}}
		other.ChallengedSectors = []proof.SectorInfo{{SealProof: sealType, SectorNumber: 1, SealedCID: c[0]}}
		return snark.VerifyWinning(t.Context(), keys, other)
	})
}

func TestUpdateProof(t *testing.T) {
	kind := abi.RegisteredUpdateProof_StackedDrg2KiBV1
	name, err := circuit.UpdateName(kind)
	if err != nil {
		t.Fatal(err)
	}
	keys := realCache(t, name, func() (r1cs.Circuit, error) { return circuit.BlankUpdate(kind) })
	info, vanilla := updated(t.Context(), t, kind)
	info.Proof = timed(t, func() ([]byte, error) { return snark.ProveUpdate(t.Context(), keys, info, vanilla, snark.Options{}) })
	flips(t, 1000, info.Proof, []cid.Cid{info.OldSealedSectorCID, info.NewSealedSectorCID, info.NewUnsealedSectorCID},
		func(p []byte, c []cid.Cid) (bool, error) {
			other := info
			other.Proof = p
			other.OldSealedSectorCID, other.NewSealedSectorCID, other.NewUnsealedSectorCID = c[0], c[1], c[2]
			return snark.VerifyUpdate(t.Context(), keys, other)
		})
}

// updated is a sector that took data, and the vanilla proof of it.
func updated(ctx context.Context, t *testing.T, kind abi.RegisteredUpdateProof) (proof.ReplicaUpdateInfo, []byte) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	old := sealedSector(t, 1)
	raw := bytes.Repeat([]byte("data "), 406)
	data := make([]byte, 2048)
	raw = append(raw, make([]byte, 2032-len(raw))...)
	fr32.Pad(raw, data)
	piece, err := commp.Sum(ctx, bytes.NewReader(raw))
	must(err)
	file, cache := poreptest.NewFile(int64(len(data))), poreptest.NewFiles()
	before := update.Replica{Sealed: old.Sealed, Cache: old.Cache}
	com, err := update.Encode(ctx, kind, update.EncodeTask{
		Old:    before,
		Data:   bytes.NewReader(data),
		Pieces: []abi.PieceInfo{{Size: piece.PaddedSize, PieceCID: piece.CID}},
		Sealed: file,
		Cache:  cache,
	}, nil)
	must(err)
	vanilla, err := update.Prove(ctx, kind, com, before, update.Replica{Sealed: file, Cache: cache})
	must(err)
	return proof.ReplicaUpdateInfo{UpdateProofType: kind, OldSealedSectorCID: old.Request.SealedCID(),
		NewSealedSectorCID: com.SealedCID(), NewUnsealedSectorCID: com.UnsealedCID()}, vanilla
}
