package tasks

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

// files are the names in the sector's cache that contain part.
func files(t *testing.T, s *session, part string) []string {
	t.Helper()
	names, err := paths.CacheDir(s.file(api.FileCache)).List()
	require.NoError(t, err)
	return slices.DeleteFunc(names, func(n string) bool { return !strings.Contains(n, part) })
}

func phase2(t *testing.T, s *session, out porep.PreCommit1Out) (api.PreCommit2Result, error) {
	t.Helper()
	raw, err := json.Marshal(out)
	require.NoError(t, err)
	return s.preCommit2(t.Context(), api.PreCommit2Params{PreCommit1Out: api.PreCommit1Out{RawMessage: raw}})
}

func cidOf(t *testing.T, s api.CidString) cid.Cid {
	t.Helper()
	c, err := cid.Decode(string(s))
	require.NoError(t, err)
	return c
}

func final(t *testing.T, s *session) error {
	t.Helper()
	_, err := s.finalize(t.Context(), api.FinalizeParams{})
	return err
}

// proven makes the proof for a seed and has it verified as the chain would.
func proven(t *testing.T, w *session, res api.PreCommit2Result, seed byte) {
	t.Helper()
	seeded := abi.InteractiveSealRandomness(bytes.Repeat([]byte{seed}, 32))
	c1, err := w.commit1(t.Context(), api.Commit1Params{Ticket: ticketOf(7), Seed: seeded, Commitments: res.Commitments})
	require.NoError(t, err)
	blob, err := w.bulk(t.Context(), c1.Vanilla)
	require.NoError(t, err)
	ok, err := porep.Verify(t.Context(), proof.SealVerifyInfo{
		SealProof:             synth.ProofType,
		SectorID:              synth.ID,
		Randomness:            ticketOf(7),
		InteractiveRandomness: seeded,
		SealedCID:             cidOf(t, res.SealedCID),
		UnsealedCID:           cidOf(t, res.UnsealedCID),
	}, blob)
	require.NoError(t, err)
	require.True(t, ok)
}

// TestSyntheticSectorNeedsNoLayers: they go with PC2, the proof comes out of the
// file of synthetic proofs, and that goes with FIN.
func TestSyntheticSectorNeedsNoLayers(t *testing.T) {
	w := newSession(t, synth, newPathDir(t))
	res, err := phase2(t, w, pc1(t, w, 7))
	require.NoError(t, err)
	require.Empty(t, files(t, w, "-layer-"))
	require.Empty(t, files(t, w, "tree-c"))
	before := files(t, w, "")
	proven(t, w, res, 3)
	proven(t, w, res, 4)
	require.NoError(t, final(t, w))
	after := files(t, w, "")
	require.Len(t, after, len(before)-2, "the synthetic proofs and the record of PC2 are dropped: before %v, after %v", before, after)
	require.NoError(t, final(t, w))
}

// TestSyntheticPC2WhoseReportIsLost is done again: what the layers were needed
// for is there, so the same result comes out of that, also when only some were
// dropped.
func TestSyntheticPC2WhoseReportIsLost(t *testing.T) {
	dir := newPathDir(t)
	w := newSession(t, synth, dir)
	out := pc1(t, w, 7)
	res, err := phase2(t, w, out)
	require.NoError(t, err)
	w = newSession(t, synth, dir)
	again, err := phase2(t, w, out)
	require.NoError(t, err)
	require.Equal(t, res, again)

	cache := w.file(api.FileCache)
	require.NoError(t, os.WriteFile(filepath.Join(cache, "sc-02-data-layer-2.dat"), make([]byte, testSize), 0o600))
	again, err = phase2(t, w, out)
	require.NoError(t, err)
	require.Equal(t, res, again)
	require.Empty(t, files(t, w, "-layer-"))
	proven(t, w, res, 3)
}

// TestSyntheticPC2WithoutItsProofsIsAnError: nothing is reported of which no
// proof can be made.
func TestSyntheticPC2WithoutItsProofsIsAnError(t *testing.T) {
	for name, spoil := range map[string]func(w *session) error{
		"synthetic proofs lost": func(w *session) error {
			return porep.ClearSynthetic(paths.CacheDir(w.file(api.FileCache)))
		},
		"p_aux lost":   func(w *session) error { return os.Remove(w.file(api.FileCache) + "/p_aux") },
		"replica lost": func(w *session) error { return os.Remove(w.file(api.FileSealed)) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newSession(t, synth, newPathDir(t))
			out := pc1(t, w, 7)
			_, err := phase2(t, w, out)
			require.NoError(t, err)
			require.NoError(t, spoil(w))
			_, err = phase2(t, w, out)
			require.ErrorContains(t, err, "PC1 must be done again")
		})
	}
}
