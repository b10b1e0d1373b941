package groth16_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/stretchr/testify/require"

	"quarry/proofs/circuit"
	"quarry/proofs/groth16"
	"quarry/proofs/porep"
	"quarry/proofs/porep/poreptest"
	"quarry/proofs/post"
	"quarry/proofs/r1cs"
)

const (
	miner    = abi.ActorID(1000)
	seal2KiB = abi.RegisteredSealProof_StackedDrg2KiBV1_1
)

var draw = abi.PoStRandomness(bytes.Repeat([]byte{0x33}, 32))

// statement is a real claim about a real sector.
type statement struct {
	blank  r1cs.Circuit
	proven []r1cs.Circuit
	inputs [][]fr.Element
	size   int64 // of the published parameters of the same circuit, in bytes
}

func sealed(t *testing.T) *poreptest.Sealed {
	t.Helper()
	s, err := poreptest.SealData(context.Background(), porep.Sector{Proof: seal2KiB, Miner: miner, Number: 42}, poreptest.VectorData(2048))
	require.NoError(t, err)
	return s
}

func access(s *poreptest.Sealed) post.SectorAccess {
	return post.SectorAccess{Info: s.Info(), Sealed: s.Sealed, Cache: s.Cache}
}

func windowStatement(t *testing.T) (st statement) {
	s := sealed(t)
	blob, skipped, err := post.ProveWindow(context.Background(), miner, draw, []post.SectorAccess{access(s)})
	require.NoError(t, err)
	require.Empty(t, skipped)
	info := proof.WindowPoStVerifyInfo{
		Randomness: draw, Prover: miner, ChallengedSectors: []proof.SectorInfo{s.Info()},
		Proofs: []proof.PoStProof{{PoStProof: abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1}},
	}
	st.blank, err = circuit.BlankWindow(abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1)
	require.NoError(t, err)
	st.proven, err = circuit.Window(info, blob)
	require.NoError(t, err)
	st.inputs, err = circuit.WindowInputs(info)
	require.NoError(t, err)
	st.size = 11_501_496
	return st
}

func winningStatement(t *testing.T) (st statement) {
	s := sealed(t)
	blob, err := post.ProveWinning(context.Background(), miner, draw, []post.SectorAccess{access(s)})
	require.NoError(t, err)
	info := proof.WinningPoStVerifyInfo{Randomness: draw, Prover: miner, ChallengedSectors: []proof.SectorInfo{s.Info()}}
	st.blank, err = circuit.BlankWinning(abi.RegisteredPoStProof_StackedDrgWinning2KiBV1)
	require.NoError(t, err)
	st.proven, err = circuit.Winning(info, blob)
	require.NoError(t, err)
	st.inputs, err = circuit.WinningInputs(info)
	require.NoError(t, err)
	st.size = 47_299_128
	return st
}

func porepStatement(t *testing.T) (st statement) {
	s := sealed(t)
	blob, err := porep.Prove(context.Background(), s.Sector, s.Request, s.Sealed, s.Cache)
	require.NoError(t, err)
	st.blank, err = circuit.BlankPoRep(seal2KiB)
	require.NoError(t, err)
	st.proven, err = circuit.PoRep(s.VerifyInfo(), blob)
	require.NoError(t, err)
	st.inputs, err = circuit.PoRepInputs(s.VerifyInfo())
	require.NoError(t, err)
	st.size = 1_114_707_768
	return st
}

// TestFilecoin generates parameters for circuits of 2 KiB sectors, whose size
// must be that of the published ones, and proves claims about a sealed sector.
func TestFilecoin(t *testing.T) {
	for name, make := range map[string]func(*testing.T) statement{
		"window": windowStatement, "winning": winningStatement, "porep": porepStatement,
	} {
		t.Run(name, func(t *testing.T) {
			if name != "window" && os.Getenv("QUARRY_LONG") == "" {
				t.Skip("takes up to a few minutes: set QUARRY_LONG=1")
			}
			proveStatement(t, make(t))
		})
	}
}

// stopwatch logs how long the stages take.
func stopwatch(t *testing.T) func(stage string, done, total int64) {
	last := time.Now()
	return func(stage string, done, total int64) {
		if done == total {
			t.Logf("%-10s %9d in %v", stage, total, time.Since(last).Round(time.Millisecond))
			last = time.Now()
		}
	}
}

// file is an *os.File as a source of parameters.
type file struct {
	*os.File
	size int64
}

func (f file) Size() int64 { return f.size }

func proveStatement(t *testing.T, st statement) {
	ctx := context.Background()
	f, err := os.Create(filepath.Join(t.TempDir(), "params"))
	require.NoError(t, err)
	defer f.Close()
	res, err := groth16.Generate(ctx, st.blank, f, groth16.GenerateOptions{Progress: stopwatch(t)})
	require.NoError(t, err)
	require.Equal(t, st.size, res.Size)
	d, err := groth16.Digest(ctx, io.NewSectionReader(f, 0, res.Size))
	require.NoError(t, err)
	require.Equal(t, d, res.Digest)

	p, err := groth16.OpenParams(file{f, res.Size})
	require.NoError(t, err)
	key, err := groth16.Prepare(p.VerifyingKey())
	require.NoError(t, err)
	proofs := make([]groth16.Proof, len(st.proven))
	for i, c := range st.proven {
		proofs[i], err = groth16.Prove(ctx, p, c, groth16.ProveOptions{Progress: stopwatch(t)})
		require.NoError(t, err)
	}
	start := time.Now()
	ok, err := groth16.Verify(key, proofs, st.inputs)
	require.NoError(t, err)
	require.True(t, ok)
	t.Logf("verified in %v", time.Since(start))
	one := fr.One()
	for range 20 {
		in := st.inputs[0]
		i := draws(t, len(in))
		old := in[i]
		in[i].Add(&in[i], &one)
		ok, err := groth16.Verify(key, proofs, st.inputs)
		require.NoError(t, err)
		require.False(t, ok, "public input %d changed", i)
		in[i] = old
	}
}

func draws(t *testing.T, n int) int {
	var b [8]byte
	_, err := rand.Read(b[:])
	require.NoError(t, err)
	return int(binary.LittleEndian.Uint64(b[:]) % uint64(n))
}
