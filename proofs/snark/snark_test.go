package snark_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand"
	"slices"
	"sync"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/circuit"
	"quarry/proofs/groth16"
	"quarry/proofs/porep"
	"quarry/proofs/porep/poreptest"
	"quarry/proofs/post"
	"quarry/proofs/r1cs"
	"quarry/proofs/snark"
	"quarry/proofs/snarkpack"
)

const (
	miner  = abi.ActorID(1000)
	seal   = abi.RegisteredSealProof_StackedDrg2KiBV1_1
	window = abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1
)

var draw = abi.PoStRandomness(bytes.Repeat([]byte{0x33}, 32))

// memory is a parameter file in memory.
type memory struct{ bytes []byte }

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(m.bytes)) {
		return 0, io.EOF
	}
	n := copy(p, m.bytes[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if end := int(off) + len(p); end > len(m.bytes) {
		m.bytes = append(m.bytes, make([]byte, end-len(m.bytes))...)
	}
	return copy(m.bytes[off:], p), nil
}

func (m *memory) Truncate(n int64) error {
	m.bytes = append(m.bytes, make([]byte, max(0, int(n)-len(m.bytes)))...)[:n]
	return nil
}

func (*memory) Sync() error { return nil }

// keys are generated for one circuit.
type keys struct {
	name   string
	params *groth16.Params
	vk     *groth16.Prepared
}

var errAbsent = errors.New("no such parameters here")

func (k *keys) Params(_ context.Context, name string) (*groth16.Params, error) {
	if name != k.name {
		return nil, errAbsent
	}
	return k.params, nil
}

func (k *keys) VerifyingKey(_ context.Context, name string) (*groth16.Prepared, error) {
	if name != k.name {
		return nil, errAbsent
	}
	return k.vk, nil
}

func (*keys) SRS(context.Context) (*snarkpack.SRSFile, error) { return nil, errAbsent }

func generate(ctx context.Context, name string, blank r1cs.Circuit) (*keys, error) {
	var m memory
	if _, err := groth16.Generate(ctx, blank, &m, groth16.GenerateOptions{}); err != nil {
		return nil, err
	}
	p, err := groth16.OpenParams(groth16.BytesSource(m.bytes))
	if err != nil {
		return nil, err
	}
	vk, err := groth16.Prepare(p.VerifyingKey())
	return &keys{name, p, vk}, err
}

// world is two sectors and what proves them, made once.
type world struct {
	keys    *keys
	info    proof.WindowPoStVerifyInfo
	vanilla []byte
}

var theWorld = sync.OnceValues(func() (*world, error) {
	ctx := context.Background()
	name, err := circuit.WindowName(window)
	if err != nil {
		return nil, err
	}
	blank, err := circuit.BlankWindow(window)
	if err != nil {
		return nil, err
	}
	w := &world{info: proof.WindowPoStVerifyInfo{Randomness: draw, Prover: miner, Proofs: []proof.PoStProof{{PoStProof: window}}}}
	if w.keys, err = generate(ctx, name, blank); err != nil {
		return nil, err
	}
	var access []post.SectorAccess
	for n := range abi.SectorNumber(3) { // two partitions of two sectors
		s, err := poreptest.Seal(ctx, porep.Sector{Proof: seal, Miner: miner, Number: n})
		if err != nil {
			return nil, err
		}
		access = append(access, post.SectorAccess{Info: s.Info(), Sealed: s.Sealed, Cache: s.Cache})
		w.info.ChallengedSectors = append(w.info.ChallengedSectors, s.Info())
	}
	w.vanilla, _, err = post.ProveWindow(ctx, miner, draw, access)
	return w, err
})

func worldOf(t *testing.T) *world {
	t.Helper()
	w, err := theWorld()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWindow(t *testing.T) {
	w := worldOf(t)
	stages := map[string]bool{}
	raw, err := snark.ProveWindow(t.Context(), w.keys, w.info, w.vanilla,
		snark.Options{Progress: func(s string, done, total int64) { stages[s] = true }})
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) != 2*groth16.ProofSize || len(stages) < 4 {
		t.Fatalf("%d bytes, stages %v", len(raw), stages)
	}
	info := w.info
	info.Proofs = []proof.PoStProof{{PoStProof: window, ProofBytes: raw}}
	if ok, err := snark.VerifyWindow(t.Context(), w.keys, info); err != nil || !ok {
		t.Fatal(ok, err)
	}
	t.Run("flips", func(t *testing.T) { flips(t, w.keys, info) })
	t.Run("wrong", func(t *testing.T) { wrong(t, w.keys, info) })
}

// flips changes one bit at a time of the proof or of what it is about.
func flips(t *testing.T, k *keys, good proof.WindowPoStVerifyInfo) {
	rng := rand.New(rand.NewSource(1))
	for i := range 1000 {
		info := good
		p := slices.Clone(good.Proofs[0].ProofBytes)
		info.Proofs = []proof.PoStProof{{PoStProof: window, ProofBytes: p}}
		what := "proof"
		switch bit := byte(1 << rng.Intn(8)); i % 10 {
		case 0:
			what = "randomness"
			info.Randomness = slices.Clone(info.Randomness)
			info.Randomness[rng.Intn(31)] ^= bit // the last byte is masked to a field element
		case 1:
			what = "CommR"
			info.ChallengedSectors = slices.Clone(info.ChallengedSectors)
			s := &info.ChallengedSectors[rng.Intn(3)]
			raw := s.SealedCID.Bytes()
			raw[len(raw)-32+rng.Intn(31)] ^= bit
			if err := s.SealedCID.UnmarshalBinary(raw); err != nil {
				t.Fatal(err)
			}
		case 2:
			what = "sector number"
			info.ChallengedSectors = slices.Clone(info.ChallengedSectors)
			info.ChallengedSectors[rng.Intn(3)].SectorNumber ^= abi.SectorNumber(bit) << 8
		default:
			p[rng.Intn(len(p))] ^= bit
		}
		if ok, err := snark.VerifyWindow(t.Context(), k, info); err != nil || ok {
			t.Fatalf("change %d, of the %s: %v, %v", i, what, ok, err)
		}
	}
}

func wrong(t *testing.T, k *keys, good proof.WindowPoStVerifyInfo) {
	raw := good.Proofs[0].ProofBytes
	swapped := append(slices.Clone(raw[groth16.ProofSize:]), raw[:groth16.ProofSize]...)
	for name, p := range map[string][]byte{"none": {}, "short": raw[1:], "one partition": raw[:groth16.ProofSize],
		"three": append(slices.Clone(raw), raw[:groth16.ProofSize]...), "swapped": swapped, "zeros": make([]byte, len(raw))} {
		info := good
		info.Proofs = []proof.PoStProof{{PoStProof: window, ProofBytes: p}}
		if ok, err := snark.VerifyWindow(t.Context(), k, info); err != nil || ok {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	info := good
	info.Proofs = nil
	if ok, err := snark.VerifyWindow(t.Context(), k, info); err != nil || ok {
		t.Errorf("no proof: %v, %v", ok, err)
	}
	info = good
	info.ChallengedSectors = nil
	if ok, err := snark.VerifyWindow(t.Context(), k, info); err != nil || ok {
		t.Errorf("no sectors: %v, %v", ok, err)
	}
}

func TestWhatCannotBeDecidedIsAnError(t *testing.T) {
	w := worldOf(t)
	none := &keys{}
	if _, err := snark.ProveWindow(t.Context(), none, w.info, w.vanilla, snark.Options{}); !errors.Is(err, errAbsent) {
		t.Error(err)
	}
	info := w.info
	raw, err := snark.ProveWindow(t.Context(), w.keys, w.info, w.vanilla, snark.Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	info.Proofs = []proof.PoStProof{{PoStProof: window, ProofBytes: raw}}
	if _, err := snark.VerifyWindow(t.Context(), none, info); !errors.Is(err, errAbsent) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := snark.ProveWindow(ctx, w.keys, w.info, w.vanilla, snark.Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestOtherStatementIsNotProven(t *testing.T) {
	w := worldOf(t)
	info := w.info
	info.Randomness = abi.PoStRandomness(bytes.Repeat([]byte{0x34}, 32))
	if _, err := snark.ProveWindow(t.Context(), w.keys, info, w.vanilla, snark.Options{}); err == nil {
		t.Fatal("a vanilla proof of other challenges was proven")
	}
	for _, cut := range [][]byte{nil, w.vanilla[:len(w.vanilla)-1]} {
		if _, err := snark.ProveWindow(t.Context(), w.keys, w.info, cut, snark.Options{}); err == nil {
			t.Fatal("a broken vanilla proof was proven")
		}
	}
}

func TestTypesThatDoNotExist(t *testing.T) {
	k := &keys{}
	for name, err := range map[string]error{
		"seal":    second(snark.VerifySeal(t.Context(), k, proof.SealVerifyInfo{SealProof: 99})),
		"update":  second(snark.VerifyUpdate(t.Context(), k, proof.ReplicaUpdateInfo{UpdateProofType: 99})),
		"window":  second(snark.VerifyWindow(t.Context(), k, proof.WindowPoStVerifyInfo{Proofs: []proof.PoStProof{{PoStProof: 99}}})),
		"winning": second(snark.VerifyWinning(t.Context(), k, proof.WinningPoStVerifyInfo{Proofs: []proof.PoStProof{{PoStProof: 99}}})),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func second(_ bool, err error) error { return err }
