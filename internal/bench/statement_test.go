package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"quarry/proofs/groth16"
	"quarry/proofs/porep"
	"quarry/proofs/snarkpack"
	"quarry/storage/paths"
)

// testDeps work on disk, as the worker does.
func testDeps() Deps {
	return Deps{Cache: func(dir string) porep.Files { return paths.CacheDir(dir) }, Open: paths.OpenFile}
}

// noKeys has no parameters.
type noKeys struct{}

var errNoKeys = errors.New("no parameters here")

func (noKeys) Params(context.Context, string) (*groth16.Params, error) { return nil, errNoKeys }

func (noKeys) VerifyingKey(context.Context, string) (*groth16.Prepared, error) { return nil, errNoKeys }

func (noKeys) SRS(context.Context) (*snarkpack.SRSFile, error) { return nil, errNoKeys }

// vanillas are right vanilla statements of every kind about one sector.
func vanillas(t testing.TB) map[string]Statement {
	t.Helper()
	ctx := context.Background()
	r, err := sealReady(ctx, 2<<10, t.TempDir(), testDeps())
	require.NoError(t, err)
	defer r.close()
	out := map[string]Statement{}
	for _, k := range []string{KindSeal, KindWinning, KindWindow, KindUpdate} {
		j, err := r.job(ctx, k)
		require.NoError(t, err)
		if out[k], err = newStatement(k, FormVanilla, j.info, j.vanilla); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// wellFormed is a Groth16 proof that can be read.
func wellFormed(t *testing.T) []byte {
	t.Helper()
	g1, g2 := groth16.Generators()
	b, err := groth16.Proof{A: g1, B: g2, C: g1}.MarshalBinary()
	require.NoError(t, err)
	return b
}

// A right statement goes through a file; a proof with a changed byte and a
// statement about something else are wrong; Groth16 proofs need keys.
func TestStatements(t *testing.T) {
	for kind, s := range vanillas(t) {
		t.Run(kind, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "s.json")
			require.NoError(t, s.writeTo(name))
			raw, err := os.ReadFile(name)
			require.NoError(t, err)
			back, err := ReadStatement(bytes.NewReader(raw))
			require.NoError(t, err)
			ok, err := back.Check(t.Context(), noKeys{})
			require.NoError(t, err)
			require.True(t, ok)

			wrong := back
			wrong.Proof = bytes.Clone(back.Proof)
			wrong.Proof[len(wrong.Proof)/3] ^= 1
			ok, err = wrong.Check(t.Context(), noKeys{})
			require.NoError(t, err)
			require.False(t, ok)

			none := back
			none.Proof = nil
			_, err = none.Check(t.Context(), noKeys{})
			require.ErrorIs(t, err, errNoProof)

			snark := back
			snark.Form, snark.Proof = FormGroth16, wellFormed(t)
			ok, err = snark.Check(t.Context(), noKeys{})
			require.False(t, ok)
			require.ErrorIs(t, err, errNoKeys)
		})
	}
}

// The proof may also be where Lotus has it, inside info.
func TestProofInsideInfo(t *testing.T) {
	s := vanillas(t)[KindSeal]
	var info map[string]any
	require.NoError(t, json.Unmarshal(s.Info, &info))
	info["Proof"] = s.Proof
	var err error
	s.Info, err = json.Marshal(info)
	require.NoError(t, err)
	s.Proof = nil
	ok, err := s.Check(t.Context(), noKeys{})
	require.NoError(t, err)
	require.True(t, ok)
}

func TestReadStatementRefuses(t *testing.T) {
	for name, raw := range map[string]string{
		"nothing":     ``,
		"no object":   `7`,
		"kind":        `{"kind":"x","form":"vanilla","info":{},"proof":"AA=="}`,
		"form":        `{"kind":"seal","form":"x","info":{},"proof":"AA=="}`,
		"no info":     `{"kind":"seal","form":"vanilla","proof":"AA=="}`,
		"no proof":    `{"kind":"seal","form":"vanilla","info":{}}`,
		"no CID":      `{"kind":"seal","form":"vanilla","info":{},"proof":"AA=="}`,
		"other field": `{"kind":"seal","form":"vanilla","info":{},"proof":"AA==","more":1}`,
		"other info":  `{"kind":"seal","form":"vanilla","info":{"More":1},"proof":"AA=="}`,
		"no type":     `{"kind":"window","form":"vanilla","info":{},"proof":"AA=="}`,
		"more":        `{"kind":"update","form":"vanilla","info":{},"proof":"AA=="} {}`,
		"sector":      `{"kind":"winning","form":"vanilla","info":{"Proofs":[{"PoStProof":0}],"ChallengedSectors":[{}]},"proof":"AA=="}`,
	} {
		_, err := ReadStatement(strings.NewReader(raw))
		require.Error(t, err, name)
	}
}

// Whatever is in a file, reading and checking it ends without a panic.
func FuzzStatement(f *testing.F) {
	for _, s := range vanillas(f) {
		if len(s.Proof) > 5000 {
			s.Proof = s.Proof[:5000]
		}
		raw, err := json.Marshal(s)
		require.NoError(f, err)
		f.Add(raw)
		f.Add(bytes.ReplaceAll(raw, []byte("vanilla"), []byte("groth16")))
		f.Add(raw[:len(raw)/2])
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := ReadStatement(bytes.NewReader(raw))
		if err != nil {
			return
		}
		if ok, err := s.Check(t.Context(), noKeys{}); ok && err != nil {
			t.Errorf("right and undecided: %v", err)
		}
	})
}
