package bench

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"quarry/proofs/sdr"
)

func TestMachineHasAName(t *testing.T) {
	m := ThisMachine()
	require.Equal(t, runtime.NumCPU(), m.Cores)
	require.Equal(t, sdr.Kernel(), m.Labels)
	require.Contains(t, m.String(), runtime.Version())
	if runtime.GOOS == "linux" {
		require.NotZero(t, m.RAM)
		free, ok := FreeDisk(t.TempDir())
		require.True(t, ok)
		require.NotZero(t, free)
	}
	require.Contains(t, Machine{}.String(), "unknown model")
}

// Both meters see memory that is used during the phase and is gone at its end.
func TestPeakSeesWhatIsGoneAgain(t *testing.T) {
	const size = 64 << 20
	for name, start := range map[string]func() peakMeter{
		"preferred": startPeak,
		"sampling":  func() peakMeter { return startSampling(time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			m := start()
			b := make([]byte, size)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			if s, ok := m.(*sampler); ok {
				s.look()
			}
			runtime.KeepAlive(b)
			require.Greater(t, m.stop(), uint64(size))
		})
	}
}

func TestRecorder(t *testing.T) {
	var began []string
	r := Recorder{Began: func(n string) { began = append(began, n) }}
	require.NoError(t, r.Do(t.Context(), "one", func(context.Context) error { return nil }))
	boom := errors.New("boom")
	require.ErrorIs(t, r.Do(t.Context(), "two", func(context.Context) error { return boom }), boom)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, r.Do(ctx, "three", func(context.Context) error { return nil }), context.Canceled)
	require.Equal(t, []string{"one", "two"}, began)
	require.Len(t, r.Phases, 1)
	require.Equal(t, r.Phases[0].Seconds, r.Seconds())
}

func TestSealProofNames(t *testing.T) {
	for p := abi.RegisteredSealProof(0); p < 20; p++ {
		size, err := p.SectorSize()
		require.NoError(t, err)
		got, err := ParseSealProof(SealProofName(p))
		require.NoError(t, err)
		require.Equal(t, p, got)
		require.Contains(t, SealProofName(p), SizeName(size))
	}
	require.Equal(t, "StackedDrg32GiBV1_1_Feat_SyntheticPoRep",
		SealProofName(abi.RegisteredSealProof_StackedDrg32GiBV1_1_Feat_SyntheticPoRep))
	require.Equal(t, "StackedDrg2KiBV1_2_Feat_NiPoRep", SealProofName(abi.RegisteredSealProof_StackedDrg2KiBV1_2_Feat_NiPoRep))
	for _, bad := range []string{"", "-1", "20", "StackedDrg3KiBV1"} {
		_, err := ParseSealProof(bad)
		require.Error(t, err, bad)
	}
}

// A way given by its parts is the registered one, and only the registered one is
// recognised.
func TestWays(t *testing.T) {
	for p := abi.RegisteredSealProof(0); p < 20; p++ {
		size, err := p.SectorSize()
		require.NoError(t, err)
		w := Way{Size: SizeName(size)}
		switch p / 5 {
		case 0:
			w.APIVersion = "1.0.0"
		case 2:
			w.Features = []string{FeatureSynthetic}
		case 3:
			w.Features = []string{FeatureNonInteractive}
		}
		parts, err := w.Parse()
		require.NoError(t, err)
		named, err := Way{Proof: SealProofName(p)}.Parse()
		require.NoError(t, err)
		require.Equal(t, named, parts)
		got, miner, ok := registeredOf(parts)
		require.True(t, ok)
		require.Equal(t, p, got)
		require.EqualValues(t, defaultMiner, miner)
		parts.PorepID[31] = 1
		_, _, ok = registeredOf(parts)
		require.False(t, ok)
	}
}

func TestMinerOfProverID(t *testing.T) {
	for _, id := range []uint64{0, 1, 127, 128, 1000, 1 << 35, 1<<63 - 1} {
		got, ok := minerOf(sdr.ProverID(id))
		require.True(t, ok, id)
		require.EqualValues(t, id, got)
	}
	for _, bad := range [][32]byte{fill(0xff), {0x80}, {0xe8, 0x07, 0x01}, {31: 1},
		{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1}} {
		_, ok := minerOf(bad)
		require.False(t, ok, "%x", bad)
	}
}

func TestNeed(t *testing.T) {
	for _, x := range []struct {
		size   string
		memory uint64 // at least
		disk   uint64
	}{{"2KiB", 1 << 20, 2 * 2048}, {"512MiB", 1 << 30, 3 << 30}, {"32GiB", 64 << 30, 470 << 30}} {
		size, err := ParseSize(x.size)
		require.NoError(t, err)
		n, err := NeedReady(size)
		require.NoError(t, err)
		require.Greater(t, n.Memory, x.memory, x.size)
		require.Greater(t, n.Disk, x.disk, x.size)
	}
	require.ErrorContains(t, Need{Disk: 1 << 62}.Check(Machine{}, t.TempDir()), "of disk are needed")
	require.ErrorContains(t, Need{Memory: 2 << 30}.Check(Machine{RAM: 1 << 30}, t.TempDir()), "2.0 GiB of memory")
	require.NoError(t, Need{Memory: 2 << 30}.Check(Machine{}, t.TempDir()))
	_, err := NeedReady(4 << 10)
	require.ErrorContains(t, err, "no chain knows")
}

// What a run says it needs of disk is what it leaves there.
func TestNeedIsWhatIsUsed(t *testing.T) {
	for _, features := range [][]string{nil, {FeatureSynthetic}} {
		way, err := Way{Size: "32KiB", Features: features}.Parse()
		require.NoError(t, err)
		in := SealInput{
			Way:      way,
			Number:   3,
			Ticket:   fill(1),
			Seed:     fill(2),
			Data:     strings.NewReader("short"),
			NoUnseal: true,
		}
		need, err := in.Need()
		require.NoError(t, err)
		dir := t.TempDir()
		r, err := Seal(t.Context(), in, dir, testDeps())
		require.NoError(t, err)
		require.NotEmpty(t, r.CommR)
		var used uint64
		require.NoError(t, filepath.Walk(dir, func(p string, st os.FileInfo, err error) error {
			name := filepath.Base(p)
			if err == nil && st.Mode().IsRegular() && name != FileProof && name != FileStatement && name != "p_aux" && name != "t_aux" {
				used += uint64(st.Size())
			}
			return err
		}))
		require.Equal(t, need.Disk, used)
	}
}

func TestSealRefusesAFullDirectory(t *testing.T) {
	way, err := Way{Size: "2KiB"}.Parse()
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, FileSealed), []byte("mine"), 0o600))
	_, err = Seal(t.Context(), SealInput{Way: way, Seed: fill(1)}, dir, testDeps())
	require.ErrorContains(t, err, "empty")
	b, err := os.ReadFile(filepath.Join(dir, FileSealed))
	require.NoError(t, err)
	require.Equal(t, "mine", string(b))
	_, err = Seal(t.Context(), SealInput{Way: way}, t.TempDir(), testDeps())
	require.ErrorContains(t, err, "seed")
}

func TestSealStops(t *testing.T) {
	way, err := Way{Size: "8MiB"}.Parse()
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	d := testDeps()
	d.Progress = func(stage string, done, _ int64) {
		if stage == "labels" && done > 0 {
			cancel()
		}
	}
	_, err = Seal(ctx, SealInput{Way: way, Seed: fill(1)}, t.TempDir(), d)
	require.ErrorIs(t, err, context.Canceled)
}

func TestComparing(t *testing.T) {
	c := &comparing{want: strings.NewReader("abcdef")}
	_, err := io.Copy(c, strings.NewReader("abcd"))
	require.NoError(t, err)
	_, err = c.Write([]byte("eX"))
	require.ErrorContains(t, err, "from 4 on")
	_, err = c.Write([]byte("more than there is"))
	require.Error(t, err)
}

func TestCommP(t *testing.T) {
	open := func() (io.ReadCloser, error) { return io.NopCloser(Repeat(20 << 20)), nil }
	r, err := CommP(t.Context(), open, 20<<20, func(string, int64, int64) {})
	require.NoError(t, err)
	require.EqualValues(t, 20<<20, r.Payload)
	require.EqualValues(t, 32<<20, r.Padded)
	require.NotEmpty(t, r.Speeds)
	for _, s := range r.Speeds {
		require.Positive(t, s.GBps)
	}
	n := 0
	changing := func() (io.ReadCloser, error) { n++; return io.NopCloser(bytes.NewReader([]byte{byte(n)})), nil }
	if _, err := CommP(t.Context(), changing, 1, nil); runtime.NumCPU() > 1 {
		require.ErrorContains(t, err, "changed")
	}
}

func TestPoSt(t *testing.T) {
	r, err := PoSt(t.Context(), 2<<10, 3, t.TempDir(), testDeps())
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(r.Runs), 2)
	for _, run := range r.Runs {
		require.Len(t, run.Phases, 2)
		require.Positive(t, run.Reads)
		require.Positive(t, run.Bytes)
		require.Positive(t, run.Proof)
	}
	require.Equal(t, 3, r.Runs[1].Sectors)
}
