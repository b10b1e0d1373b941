package worker

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/proofs/porep"
	"quarry/storage/paths"
)

var synth = testRef(abi.RegisteredSealProof_StackedDrg2KiBV1_1_Feat_SyntheticPoRep)

// files are the names in the sector's cache that contain part.
func files(t *testing.T, at paths.Path, part string) []string {
	t.Helper()
	names, err := paths.CacheDir(at.FilePath(synth.ID, api.FileCache)).List()
	require.NoError(t, err)
	return slices.DeleteFunc(names, func(n string) bool { return !strings.Contains(n, part) })
}

func phase2(t *testing.T, w *Worker, out porep.PreCommit1Out) (api.PreCommit2Result, error) {
	t.Helper()
	raw, err := json.Marshal(out)
	require.NoError(t, err)
	return w.preCommit2(t.Context(), synth, testSize, api.PreCommit2Params{PreCommit1Out: api.PreCommit1Out{RawMessage: raw}}, newProgress())
}

func cidOf(t *testing.T, s api.CidString) cid.Cid {
	t.Helper()
	c, err := cid.Decode(string(s))
	require.NoError(t, err)
	return c
}

// proven makes the proof for a seed and has it verified as the chain would.
func proven(t *testing.T, w *Worker, res api.PreCommit2Result, seed byte) {
	t.Helper()
	s := abi.InteractiveSealRandomness(bytes.Repeat([]byte{seed}, 32))
	c1, err := w.commit1(t.Context(), synth, testSize, api.Commit1Params{Ticket: ticketOf(7), Seed: s, Commitments: res.Commitments}, newProgress())
	require.NoError(t, err)
	blob, err := w.bulk(t.Context(), c1.Vanilla)
	require.NoError(t, err)
	ok, err := porep.Verify(t.Context(), proof.SealVerifyInfo{SealProof: synth.ProofType, SectorID: synth.ID, Randomness: ticketOf(7),
		InteractiveRandomness: s, SealedCID: cidOf(t, res.SealedCID), UnsealedCID: cidOf(t, res.UnsealedCID)}, blob)
	require.NoError(t, err)
	require.True(t, ok)
}

// TestSyntheticSectorNeedsNoLayers: they go with PC2, the proof comes out of the
// file of synthetic proofs, and that goes with FIN.
func TestSyntheticSectorNeedsNoLayers(t *testing.T) {
	w, at := newSession(t, newPathDir(t))
	res, err := phase2(t, w, pc1(t, w, synth, 7))
	require.NoError(t, err)
	require.Empty(t, files(t, at, "-layer-"))
	require.Empty(t, files(t, at, "tree-c"))
	before := files(t, at, "")
	proven(t, w, res, 3)
	proven(t, w, res, 4)
	require.NoError(t, w.finalize(t.Context(), synth, testSize, api.FinalizeParams{}, newProgress()))
	after := files(t, at, "")
	require.Len(t, after, len(before)-1, "the synthetic proofs are dropped: before %v, after %v", before, after)
	require.NoError(t, w.finalize(t.Context(), synth, testSize, api.FinalizeParams{}, newProgress()))
}

// TestSyntheticPC2WhoseReportIsLost is done again: what the layers were needed
// for is there, so the same result comes out of that, also when only some were
// dropped.
func TestSyntheticPC2WhoseReportIsLost(t *testing.T) {
	dir := newPathDir(t)
	w, at := newSession(t, dir)
	out := pc1(t, w, synth, 7)
	res, err := phase2(t, w, out)
	require.NoError(t, err)
	w, at = newSession(t, dir)
	again, err := phase2(t, w, out)
	require.NoError(t, err)
	require.Equal(t, res, again)

	cache := at.FilePath(synth.ID, api.FileCache)
	require.NoError(t, os.WriteFile(filepath.Join(cache, "sc-02-data-layer-2.dat"), make([]byte, testSize), 0o600))
	again, err = phase2(t, w, out)
	require.NoError(t, err)
	require.Equal(t, res, again)
	require.Empty(t, files(t, at, "-layer-"))
	proven(t, w, res, 3)
}

// TestSyntheticPC2WithoutItsProofsIsAnError: nothing is reported of which no
// proof can be made.
func TestSyntheticPC2WithoutItsProofsIsAnError(t *testing.T) {
	for name, spoil := range map[string]func(at paths.Path) error{
		"synthetic proofs lost": func(at paths.Path) error {
			return porep.ClearSynthetic(paths.CacheDir(at.FilePath(synth.ID, api.FileCache)))
		},
		"p_aux lost":   func(at paths.Path) error { return os.Remove(at.FilePath(synth.ID, api.FileCache) + "/p_aux") },
		"replica lost": func(at paths.Path) error { return os.Remove(at.FilePath(synth.ID, api.FileSealed)) },
	} {
		t.Run(name, func(t *testing.T) {
			w, at := newSession(t, newPathDir(t))
			out := pc1(t, w, synth, 7)
			_, err := phase2(t, w, out)
			require.NoError(t, err)
			require.NoError(t, spoil(at))
			_, err = phase2(t, w, out)
			require.ErrorContains(t, err, "PC1 must be done again")
		})
	}
}
