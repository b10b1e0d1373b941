package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"quarry/internal/bench"
	"quarry/internal/command"
)

// run is miner-worker with these arguments; out is what it prints.
func runCLI(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	var b bytes.Buffer
	err = command.Run(t.Context(), newApp(&b), append([]string{"miner-worker"}, args...))
	return b.String(), err
}

// benchJSON runs a command with --json and reads its result.
func benchJSON(t *testing.T, result any, args ...string) {
	t.Helper()
	out, err := runCLI(t, append([]string{"bench"}, args...)...)
	require.NoError(t, err)
	var r struct {
		Machine bench.Machine   `json:"machine"`
		Result  json.RawMessage `json:"result"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &r), out)
	require.NoError(t, json.Unmarshal(r.Result, result), out)
	require.NotZero(t, r.Machine.Cores)
	require.NotEmpty(t, r.Machine.Go)
}

// sealVector is one of the reference's sectors.
type sealVector struct {
	Name      string     `json:"name"`
	Size      uint64     `json:"sector_size"`
	API       string     `json:"api_version"`
	Features  []string   `json:"features"`
	PorepID   string     `json:"porep_id_hex"`
	ProverID  string     `json:"prover_id"`
	Number    uint64     `json:"sector_number"`
	Ticket    string     `json:"ticket"`
	Seed      string     `json:"seed"`
	CommD     string     `json:"comm_d"`
	CommR     string     `json:"comm_r"`
	CommC     string     `json:"comm_c"`
	CommRLast string     `json:"comm_r_last"`
	ReplicaID string     `json:"replica_id"`
	Sealed    string     `json:"sealed_sha256"`
	Challenge [][]uint64 `json:"challenges"`
	C1        struct {
		SHA256 string `json:"sha256"`
		Size   int    `json:"size"`
	} `json:"c1_bincode_inner"`
}

func sealVectors(t *testing.T) []sealVector {
	t.Helper()
	raw, err := os.ReadFile("../../proofs/porep/testdata/sectors.json")
	require.NoError(t, err)
	var v struct {
		Sectors []sealVector `json:"sectors"`
	}
	require.NoError(t, json.Unmarshal(raw, &v))
	require.Len(t, v.Sectors, 6)
	return v.Sectors
}

// payload writes what the reference's sectors were filled with to a file.
func payload(t *testing.T, size uint64) string {
	t.Helper()
	raw := make([]byte, size/128*127)
	for i := range raw {
		raw[i] = byte(7*i+3) ^ byte(i>>8)
	}
	name := filepath.Join(t.TempDir(), "payload")
	require.NoError(t, os.WriteFile(name, raw, 0o600))
	return name
}

// The command seals the reference's sectors as the reference did.
func TestBenchSealVectors(t *testing.T) {
	for _, v := range sealVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			if v.Size > 1<<20 && os.Getenv("QUARRY_LONG") == "" {
				t.Skip("seals and unseals 8 MiB; run with QUARRY_LONG=1")
			}
			dir := filepath.Join(t.TempDir(), "sector")
			var r bench.SealReport
			benchJSON(t, &r, "seal", "--json", "--sector-size", bench.SizeName(abi.SectorSize(v.Size)), "--porep-id", v.PorepID,
				"--api-version", v.API, "--features", strings.Join(v.Features, ","), "--prover-id", v.ProverID,
				"--sector", strconv.FormatUint(v.Number, 10), "--ticket", v.Ticket, "--seed", v.Seed, "--data", payload(t, v.Size),
				"--out", dir)
			require.Equal(t, []string{v.CommD, v.CommR, v.CommC, v.CommRLast, v.ReplicaID, v.Sealed, v.C1.SHA256},
				[]string{r.CommD, r.CommR, r.CommC, r.CommRLast, r.ReplicaID, r.ReplicaSHA256, r.ProofSHA256})
			require.Equal(t, v.Challenge, r.Challenges)
			require.True(t, r.Verified && r.Unsealed)
			checkBenchPhases(t, &v, &r)
			checkBenchStatement(t, &v, dir)
		})
	}
}

func checkBenchPhases(t *testing.T, v *sealVector, r *bench.SealReport) {
	t.Helper()
	want := []string{"AP", "PC1", "PC2", "C1", "verify", "unseal"}
	if len(v.Features) > 0 {
		want = []string{"AP", "PC1", "PC2", "synth", "C1", "verify", "unseal"}
	}
	var got []string
	for _, p := range r.Phases {
		got = append(got, p.Name)
		require.Positive(t, p.Seconds, p.Name)
		require.Greater(t, p.Peak, uint64(1<<20), p.Name)
	}
	require.Equal(t, want, got)
}

// checkBenchStatement checks the statement that sealing left, and a wrong one.
func checkBenchStatement(t *testing.T, v *sealVector, dir string) {
	t.Helper()
	name := filepath.Join(dir, bench.FileStatement)
	if strings.Contains(v.Name, "-id5") { // no chain knows such sectors
		require.NoFileExists(t, name)
		return
	}
	var r struct{ Valid bool }
	benchJSON(t, &r, "verify", "--json", name)
	require.True(t, r.Valid)

	var s map[string]any
	raw, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &s))
	blob, err := base64.StdEncoding.DecodeString(s["proof"].(string))
	require.NoError(t, err)
	blob[len(blob)/2] ^= 1
	s["proof"] = blob
	raw, err = json.Marshal(s)
	require.NoError(t, err)
	wrong := filepath.Join(t.TempDir(), "wrong.json")
	require.NoError(t, os.WriteFile(wrong, raw, 0o600))
	out, err := runCLI(t, "bench", "verify", "--json", wrong)
	require.ErrorIs(t, err, errWrongProof)
	require.Contains(t, out, `"valid": false`)
}

// Whatever is wrong with a flag is said before anything starts.
func TestBenchSealRefuses(t *testing.T) {
	full := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(full, "mine"), nil, 0o600))
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"nothing":       {nil, "give a sector size or a registered seal proof"},
		"size":          {[]string{"--sector-size", "3KiB"}, "2KiB, 4KiB"},
		"proof":         {[]string{"--proof", "20"}, "0 to 19"},
		"proof name":    {[]string{"--proof", "StackedDrg2KiBV9"}, "StackedDrg2KiBV1_1"},
		"proof twice":   {[]string{"--proof", "5", "--sector-size", "2KiB"}, "leave those out"},
		"porep id":      {[]string{"--sector-size", "2KiB", "--porep-id", "05"}, "PoRep id"},
		"prover id":     {[]string{"--sector-size", "2KiB", "--prover-id", strings.Repeat("x", 64)}, "prover id"},
		"api version":   {[]string{"--sector-size", "2KiB", "--api-version", "3"}, "api version"},
		"feature":       {[]string{"--sector-size", "2KiB", "--features", "fast"}, "synthetic-porep"},
		"old feature":   {[]string{"--sector-size", "2KiB", "--features", "synthetic-porep", "--api-version", "1.0.0"}, "has no features"},
		"both features": {[]string{"--sector-size", "2KiB", "--features", "synthetic-porep,non-interactive-porep"}, "not both"},
		"ticket":        {[]string{"--sector-size", "2KiB", "--ticket", "11"}, "--ticket"},
		"seed":          {[]string{"--sector-size", "2KiB", "--seed", strings.Repeat("00", 32)}, "all zero"},
		"memory":        {[]string{"--sector-size", "2KiB", "--memory", "much"}, "--memory"},
		"low memory":    {[]string{"--sector-size", "2KiB", "--memory", "1KiB"}, "too low"},
		"no data":       {[]string{"--sector-size", "2KiB", "--data", filepath.Join(full, "none")}, "no such file"},
		"directory":     {[]string{"--sector-size", "2KiB", "--data", full}, "is a directory, not a regular file"},
		"large data":    {[]string{"--sector-size", "2KiB", "--data", payload(t, 4096)}, "more than 2032 bytes"},
		"two data":      {[]string{"--sector-size", "2KiB", "--data", payload(t, 2048), "--data-seed", "1"}, "not both"},
		"argument":      {[]string{"--sector-size", "2KiB", "more"}, "more"},
		"full":          {[]string{"--sector-size", "2KiB", "--out", full}, "not empty"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := runCLI(t, append([]string{"bench", "seal"}, c.args...)...)
			require.ErrorContains(t, err, c.says)
			require.Empty(t, out)
		})
	}
	left, err := os.ReadDir(full)
	require.NoError(t, err)
	require.Len(t, left, 1)
}

// The same stream fills a sector alike, and each kind of sector goes through.
func TestBenchSealOtherWays(t *testing.T) {
	var a, b, ni bench.SealReport
	benchJSON(t, &a, "seal", "--json", "--proof", "StackedDrg2KiBV1_1", "--data-seed", "7", "--no-unseal")
	benchJSON(t, &b, "seal", "--json", "--sector-size", "2KiB", "--data-seed", "7", "--memory", "64MiB")
	require.Equal(t, a.CommR, b.CommR)
	require.False(t, a.Unsealed)
	require.True(t, b.Unsealed)
	benchJSON(t, &ni, "seal", "--json", "--sector-size", "2kib", "--features", "non-interactive-porep", "--api-version", "1.2.0")
	require.Len(t, ni.Challenges, 13)
	require.NotEqual(t, a.CommD, ni.CommD)
}

func TestBenchMachine(t *testing.T) {
	out, err := runCLI(t, "bench", "machine")
	require.NoError(t, err)
	require.Contains(t, out, "machine: ")
	out, err = runCLI(t, "bench", "machine", "--json")
	require.NoError(t, err)
	require.Contains(t, out, `"label_code"`)
}

// A file and the same payload from elsewhere have one commitment.
func TestBenchCommP(t *testing.T) {
	var r bench.CommPReport
	name := payload(t, 2<<10)
	benchJSON(t, &r, "commp", "--json", name)
	require.Equal(t, "baga6ea4seaqahmtiyaby2eyyooytnbhhemk25cuh6diailtv37ijckeznkzjiay", r.PieceCID)
	require.EqualValues(t, 2032, r.Payload)
	out, err := runCLI(t, "bench", "commp", "--size", "1MiB")
	require.NoError(t, err)
	require.Contains(t, out, "GB per CPU second")
	for _, args := range [][]string{{"--size", "x"}, {"--size", "0"}, {"--size", "1MiB", name}, {name, name}, {t.TempDir()},
		{filepath.Join(t.TempDir(), "none")}} {
		_, err := runCLI(t, append([]string{"bench", "commp"}, args...)...)
		require.Error(t, err, args)
	}
}

func TestBenchPoseidon(t *testing.T) {
	var r []bench.PoseidonSpeed
	benchJSON(t, &r, "poseidon", "--json", "--arity", "2,8")
	require.Len(t, r, 2)
	for _, s := range r {
		require.Positive(t, s.Scalar)
		require.Positive(t, s.Row)
	}
	for _, args := range [][]string{{"--arity", "3"}, {"--arity", "x"}, {"more"}} {
		_, err := runCLI(t, append([]string{"bench", "poseidon"}, args...)...)
		require.Error(t, err, args)
	}
}

func TestBenchPoSt(t *testing.T) {
	var r bench.PoStReport
	benchJSON(t, &r, "post", "--json", "--sectors", "2")
	require.Equal(t, []string{"winning", "window"}, []string{r.Runs[0].Kind, r.Runs[1].Kind})
	out, err := runCLI(t, "bench", "post")
	require.NoError(t, err)
	require.Contains(t, out, "window proof of 1 sectors of 2KiB, files in memory")
	for _, args := range [][]string{{"--sectors", "0"}, {"--sectors", "10001"}, {"--sector-size", "4KiB"}, {"--sector-size", "x"},
		{"more"}} {
		_, err := runCLI(t, append([]string{"bench", "post"}, args...)...)
		require.Error(t, err, args)
	}
}

// Without parameters the command says how to get them, and starts nothing.
func TestBenchGroth16NeedsParameters(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	_, err := runCLI(t, "bench", "groth16", "--dir", t.TempDir(), "--out", out)
	require.ErrorContains(t, err, "miner-worker params generate")
	require.NoDirExists(t, out)
	for _, args := range [][]string{{"--kind", "x"}, {"--sector-size", "4KiB"}, {"--sector-size", "x"}} {
		_, err := runCLI(t, append([]string{"bench", "groth16", "--dir", t.TempDir()}, args...)...)
		require.Error(t, err, args)
	}
}

func TestBenchGroth16(t *testing.T) {
	if os.Getenv("QUARRY_LONG") == "" {
		t.Skip("makes parameters and proofs, a minute of two cores; run with QUARRY_LONG=1")
	}
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	var r bench.SnarkReport
	benchJSON(t, &r, "groth16", "--json", "--dir", dir, "--generate", "--out", out)
	require.Len(t, r.Runs, 2)
	for _, run := range r.Runs {
		require.Equal(t, 192, run.Proof)
		require.Len(t, run.Phases, 3)
		for _, form := range []string{"vanilla", "groth16"} {
			var v struct{ Valid bool }
			benchJSON(t, &v, "verify", "--json", "--dir", dir, filepath.Join(out, run.Kind+"-"+form+".json"))
			require.True(t, v.Valid)
		}
	}
}

func TestBenchVerifyRefuses(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.json")
	require.NoError(t, os.WriteFile(bad, []byte(`{"kind":"seal"}`), 0o600))
	for _, args := range [][]string{{}, {bad}, {bad, bad}, {filepath.Join(t.TempDir(), "none")}} {
		_, err := runCLI(t, append([]string{"bench", "verify"}, args...)...)
		require.Error(t, err, args)
		require.NotErrorIs(t, err, errWrongProof)
	}
}
