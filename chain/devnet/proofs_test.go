package devnet

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"

	"quarry/proofs/envelope"
	"quarry/proofs/groth16"
	"quarry/proofs/porep"
	"quarry/proofs/porep/poreptest"
	"quarry/proofs/post"
	"quarry/proofs/snark"
	"quarry/proofs/snarkpack"
)

// noKeys has the parameters of nothing yet; it counts the questions.
type noKeys struct{ asked int }

var errNoKey = errors.New("no such parameters")

func (k *noKeys) Params(context.Context, string) (*groth16.Params, error) {
	k.asked++
	return nil, errNoKey
}

func (k *noKeys) VerifyingKey(context.Context, string) (*groth16.Prepared, error) {
	k.asked++
	return nil, errNoKey
}

func (k *noKeys) SRS(context.Context) (*snarkpack.SRSFile, error) {
	k.asked++
	return nil, errNoKey
}

func (k *noKeys) Has(string) bool { return false }

var _ snark.Keys = (*noKeys)(nil)

// failing is a disk that cannot be read.
type failing struct{ datastore.Batching }

var errDisk = errors.New("input/output error")

func (failing) Get(context.Context, datastore.Key) ([]byte, error) { return nil, errDisk }

func quietVerifier(ds datastore.Batching, keys Keys) *verifier {
	return newVerifier(newBlocks(ds), keys, slog.New(slog.DiscardHandler))
}

func memoryStore() datastore.Batching { return dssync.MutexWrap(datastore.NewMapDatastore()) }

// provenSeal is a seal, its vanilla proof, and the name of that in the field.
func provenSeal(t *testing.T, kind abi.RegisteredSealProof) (proof.SealVerifyInfo, []byte) {
	t.Helper()
	s, err := poreptest.Seal(t.Context(), porep.Sector{Proof: kind, Miner: 1000, Number: 3})
	if err != nil {
		t.Fatal(err)
	}
	blob, err := porep.Prove(t.Context(), s.Sector, s.Request, s.Sealed, s.Cache)
	if err != nil {
		t.Fatal(err)
	}
	info := s.VerifyInfo()
	info.Proof, _ = envelope.Wrap(blob)
	return info, blob
}

// put stores a blob as ChainPutObj does.
func (v *verifier) put(t *testing.T, blob []byte) {
	t.Helper()
	_, c := envelope.Wrap(blob)
	if err := v.blocks.putNow(t.Context(), c, blob); err != nil {
		t.Fatal(err)
	}
}

// A named proof counts once it is on the node, of every kind of seal proof, and
// only for exactly what it is about.
func TestVerifySealByName(t *testing.T) {
	for name, kind := range map[string]abi.RegisteredSealProof{
		"interactive":     abi.RegisteredSealProof_StackedDrg2KiBV1_1,
		"non-interactive": abi.RegisteredSealProof_StackedDrg2KiBV1_2_Feat_NiPoRep,
		"synthetic":       abi.RegisteredSealProof_StackedDrg2KiBV1_1_Feat_SyntheticPoRep,
	} {
		t.Run(name, func(t *testing.T) {
			info, blob := provenSeal(t, kind)
			v := quietVerifier(memoryStore(), nil)
			verdict := func(what string, want bool, i proof.SealVerifyInfo) {
				t.Helper()
				for range 2 { // the second answer may come from memory
					if ok, err := v.Seal(t.Context(), i); ok != want || err != nil {
						t.Errorf("%s: %v, %v, want %v", what, ok, err, want)
					}
				}
			}
			verdict("before the proof is on the node", false, info)
			v.put(t, blob)
			verdict("when it is", true, info)
			for what, change := range map[string]func(i *proof.SealVerifyInfo){
				"proof type":   func(i *proof.SealVerifyInfo) { i.SealProof = abi.RegisteredSealProof_StackedDrg2KiBV1 },
				"miner":        func(i *proof.SealVerifyInfo) { i.Miner++ },
				"number":       func(i *proof.SealVerifyInfo) { i.Number++ },
				"ticket":       func(i *proof.SealVerifyInfo) { i.Randomness = bytes.Repeat([]byte{9}, 32) },
				"seed":         func(i *proof.SealVerifyInfo) { i.InteractiveRandomness = bytes.Repeat([]byte{9}, 32) },
				"CommR":        func(i *proof.SealVerifyInfo) { i.SealedCID = porep.Commitments{CommR: [32]byte{9}}.SealedCID() },
				"CommD as R":   func(i *proof.SealVerifyInfo) { i.SealedCID = i.UnsealedCID },
				"CommR as D":   func(i *proof.SealVerifyInfo) { i.UnsealedCID = i.SealedCID },
				"envelope":     func(i *proof.SealVerifyInfo) { i.Proof, _ = envelope.Wrap([]byte("other")) },
				"field itself": func(i *proof.SealVerifyInfo) { i.Proof = blob },
				"empty field":  func(i *proof.SealVerifyInfo) { i.Proof = nil },
			} {
				other := info
				change(&other)
				verdict("another "+what, false, other)
			}
			verdict("at the end", true, info)
		})
	}
}

// A window proof and a winning proof by name; each with one proof field exactly.
func TestVerifyPoStByName(t *testing.T) {
	s, err := poreptest.Seal(t.Context(), porep.Sector{Proof: abi.RegisteredSealProof_StackedDrg2KiBV1_1, Miner: 1000, Number: 3})
	if err != nil {
		t.Fatal(err)
	}
	acc := []post.SectorAccess{{Info: s.Info(), Sealed: s.Sealed, Cache: s.Cache}}
	rand := abi.PoStRandomness(bytes.Repeat([]byte{7}, 32))
	window, _, err := post.ProveWindow(t.Context(), 1000, rand, acc)
	if err != nil {
		t.Fatal(err)
	}
	winning, err := post.ProveWinning(t.Context(), 1000, rand, acc)
	if err != nil {
		t.Fatal(err)
	}
	v := quietVerifier(memoryStore(), nil)
	v.put(t, window)
	v.put(t, winning)
	fields := func(kind abi.RegisteredPoStProof, blobs ...[]byte) (out []proof.PoStProof) {
		for _, b := range blobs {
			f, _ := envelope.Wrap(b)
			out = append(out, proof.PoStProof{PoStProof: kind, ProofBytes: f})
		}
		return out
	}
	const win, wdw = abi.RegisteredPoStProof_StackedDrgWinning2KiBV1, abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1
	sectors := []proof.SectorInfo{s.Info()}
	for name, c := range map[string]struct {
		rand   abi.PoStRandomness
		fields []proof.PoStProof
		want   bool
	}{
		"right":            {rand, fields(wdw, window), true},
		"twice":            {rand, fields(wdw, window, window), false},
		"none":             {rand, nil, false},
		"a winning one":    {rand, fields(wdw, winning), false},
		"of another type":  {rand, fields(win, window), false},
		"other randomness": {bytes.Repeat([]byte{8}, 32), fields(wdw, window), false},
	} {
		info := proof.WindowPoStVerifyInfo{Randomness: c.rand, Proofs: c.fields, ChallengedSectors: sectors, Prover: 1000}
		if ok, err := v.WindowPoSt(t.Context(), info); ok != c.want || err != nil {
			t.Errorf("window, %s: %v, %v", name, ok, err)
		}
	}
	for name, c := range map[string]struct {
		fields []proof.PoStProof
		want   bool
	}{
		"right": {fields(win, winning), true}, "twice": {fields(win, winning, winning), false},
		"none": {nil, false}, "a window one": {fields(win, window), false},
	} {
		info := proof.WinningPoStVerifyInfo{Randomness: rand, Proofs: c.fields, ChallengedSectors: sectors, Prover: 1000}
		if ok, err := v.Winning(t.Context(), info); ok != c.want || err != nil {
			t.Errorf("winning, %s: %v, %v", name, ok, err)
		}
	}
}

// Without keys a Groth16 proof is wrong for good; with keys that lack the
// circuit nothing is decided, and nothing remembered: the key may come.
func TestVerifyGroth16WithoutKeys(t *testing.T) {
	info, _ := provenSeal(t, abi.RegisteredSealProof_StackedDrg2KiBV1_1)
	_, _, g1, g2 := bls12381.Generators()
	a, b := g1.Bytes(), g2.Bytes() // points of the form that a proof has
	info.Proof = slices.Concat(a[:], b[:], a[:])
	v := quietVerifier(memoryStore(), nil)
	if ok, err := v.Seal(t.Context(), info); ok || err != nil {
		t.Errorf("no keys: %v, %v", ok, err)
	}
	keys := new(noKeys)
	v = quietVerifier(memoryStore(), keys)
	for range 2 {
		if ok, err := v.Seal(t.Context(), info); ok || !errors.Is(err, errNoKey) {
			t.Errorf("a missing key: %v, %v", ok, err)
		}
	}
	if keys.asked != 2 || len(v.known) != 0 {
		t.Errorf("asked for %d keys, %d results remembered", keys.asked, len(v.known))
	}
	info.Proof = make([]byte, 192) // not points: wrong, whatever the key
	if ok, err := v.Seal(t.Context(), info); ok || err != nil || keys.asked != 2 {
		t.Errorf("no points: %v, %v, asked for %d keys", ok, err, keys.asked)
	}
}

// Vanilla proofs do not aggregate, whatever is on the node.
func TestVerifyAggregateByName(t *testing.T) {
	info, blob := provenSeal(t, abi.RegisteredSealProof_StackedDrg2KiBV1_1)
	for name, keys := range map[string]Keys{"no keys": nil, "keys": new(noKeys)} {
		v := quietVerifier(memoryStore(), keys)
		v.put(t, blob)
		agg := proof.AggregateSealVerifyProofAndInfos{
			Miner:          1000,
			SealProof:      info.SealProof,
			AggregateProof: abi.RegisteredAggregationProof_SnarkPackV2,
			Proof:          info.Proof,
			Infos: []proof.AggregateSealVerifyInfo{{
				Number:                info.Number,
				Randomness:            info.Randomness,
				InteractiveRandomness: info.InteractiveRandomness,
				SealedCID:             info.SealedCID,
				UnsealedCID:           info.UnsealedCID,
			}},
		}
		if ok, err := v.Aggregate(t.Context(), agg); ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
}

// A disk that fails, and a context that ended, decide nothing.
func TestVerifyUndecided(t *testing.T) {
	info, blob := provenSeal(t, abi.RegisteredSealProof_StackedDrg2KiBV1_1)
	v := quietVerifier(failing{memoryStore()}, nil)
	if ok, err := v.Seal(t.Context(), info); ok || !errors.Is(err, errDisk) || len(v.known) != 0 {
		t.Errorf("failing disk: %v, %v, %d remembered", ok, err, len(v.known))
	}
	v = quietVerifier(memoryStore(), nil)
	v.put(t, blob)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if ok, err := v.Seal(gone, info); ok || !errors.Is(err, context.Canceled) || len(v.known) != 0 {
		t.Errorf("ended context: %v, %v, %d remembered", ok, err, len(v.known))
	}
	if ok, err := v.Seal(t.Context(), info); !ok || err != nil {
		t.Errorf("after that: %v, %v", ok, err)
	}
}

// What is remembered has a bound.
func TestVerifierMemoryIsBounded(t *testing.T) {
	v := quietVerifier(memoryStore(), nil)
	for i := range maxKnown + 10 {
		info := proof.SealVerifyInfo{SectorID: abi.SectorID{Miner: 1, Number: abi.SectorNumber(i)}, Proof: []byte{1}}
		if ok, err := v.Seal(t.Context(), info); ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if len(v.known) > maxKnown {
		t.Errorf("%d results are remembered", len(v.known))
	}
}
