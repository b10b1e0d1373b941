package apitest

import (
	"bytes"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/proofs/post"
)

// Proving is what the checks of [api.Prover] need to know.
type Proving struct {
	Miner abi.ActorID
	Good  proof.SectorInfo // of 2 KiB, sealed and stored
	Path  api.StorageID    // where it is
}

// missing is a sector like the good one that is stored nowhere, with a lower
// number.
func (p Proving) missing() proof.SectorInfo {
	out := p.Good
	out.SectorNumber--
	return out
}

// other is the good sector with the CommR of none.
func (p Proving) other() proof.SectorInfo {
	out := p.Good
	out.SealedCID = cid.MustParse("bagboea4b5abcatlxechwbp7kjpjguna6r6q7ejrhe6mdp3lf34pmswn27pkkiekz")
	return out
}

// randomness must lie in the field of the proofs on all sides.
var randomness = abi.PoStRandomness(bytes.Repeat([]byte{0x1f}, 32))

// CheckProver is what [api.Prover] promises.
func CheckProver(t *testing.T, p Proving, s api.Prover) {
	for name, check := range map[string]func(*testing.T, Proving, api.Prover){
		"window proofs":       checkWindow,
		"winning proofs":      checkWinning,
		"what can be proved":  checkProvable,
		"the prover's health": checkProverState,
	} {
		t.Run(name, func(t *testing.T) { check(t, p, s) })
	}
}

func checkWindow(t *testing.T, p Proving, s api.Prover) {
	ctx := t.Context()
	ask := func(sectors ...proof.SectorInfo) api.WindowPoStResult {
		r := api.WindowPoStRequest{Miner: p.Miner, Randomness: randomness, Sectors: sectors, Limit: time.Minute}
		got, err := s.ProveWindow(ctx, r)
		require.NoError(t, err)
		return got
	}
	got := ask(p.Good)
	require.Empty(t, got.Skipped)
	info := proof.WindowPoStVerifyInfo{Randomness: randomness, Prover: p.Miner, ChallengedSectors: []proof.SectorInfo{p.Good}}
	ok, err := post.VerifyWindow(ctx, info, got.Vanilla)
	require.NoError(t, err)
	require.True(t, ok)
	some := ask(p.Good, p.missing())
	require.Equal(t, got.Vanilla, some.Vanilla, "what is missing costs itself only")
	none := ask(p.missing())
	require.Empty(t, none.Vanilla)
	for _, r := range []api.WindowPoStResult{some, none} {
		require.Len(t, r.Skipped, 1)
		require.Equal(t, p.missing().SectorNumber, r.Skipped[0].Sector)
		require.Equal(t, api.FaultMissing, r.Skipped[0].Reason)
		require.NotEmpty(t, r.Skipped[0].Detail)
	}
	wrong := ask(p.other())
	require.Len(t, wrong.Skipped, 1)
	require.Equal(t, api.FaultOtherSeal, wrong.Skipped[0].Reason)
	_, err = s.ProveWindow(ctx, api.WindowPoStRequest{Miner: p.Miner, Randomness: randomness})
	require.Error(t, err, "there is no proof of nothing")
}

func checkWinning(t *testing.T, p Proving, s api.Prover) {
	ctx := t.Context()
	ask := func(sectors ...proof.SectorInfo) ([]byte, error) {
		r := api.WinningPoStRequest{Miner: p.Miner, Randomness: randomness}
		for _, i := range sectors {
			r.Sectors = append(r.Sectors, proof.ExtendedSectorInfo{SealProof: i.SealProof, SectorNumber: i.SectorNumber,
				SealedCID: i.SealedCID})
		}
		return s.ProveWinning(ctx, r)
	}
	got, err := ask(p.Good)
	require.NoError(t, err)
	info := proof.WinningPoStVerifyInfo{Randomness: randomness, Prover: p.Miner, ChallengedSectors: []proof.SectorInfo{p.Good}}
	ok, err := post.VerifyWinning(ctx, info, got)
	require.NoError(t, err)
	require.True(t, ok)
	for _, bad := range []proof.SectorInfo{p.missing(), p.other()} {
		_, err = ask(bad)
		require.ErrorContains(t, err, api.SectorName(abi.SectorID{Miner: p.Miner, Number: bad.SectorNumber}))
	}
	for _, bad := range [][]proof.SectorInfo{{}, {p.Good, p.Good}} {
		_, err = ask(bad...)
		typed[*api.ErrInvalid](t, err)
	}
}

func checkProvable(t *testing.T, p Proving, s api.Prover) {
	ctx := t.Context()
	ask := func(thorough bool, sectors ...proof.SectorInfo) api.ProvableResult {
		r := api.ProvableRequest{Miner: p.Miner, Limit: time.Minute}
		for _, i := range sectors {
			r.Sectors = append(r.Sectors, api.ProvableSector{
				Number:    i.SectorNumber,
				SealProof: i.SealProof,
				SealedCID: i.SealedCID,
				Thorough:  thorough,
			})
		}
		got, err := s.CheckProvable(ctx, r)
		require.NoError(t, err)
		return got
	}
	for _, sectors := range [][]proof.SectorInfo{{}, {p.Good}} {
		got := ask(false, sectors...)
		require.Empty(t, got.Faults)
		require.Empty(t, got.Prints)
	}
	got := ask(true, p.Good, p.missing())
	require.NotEmpty(t, got.Prints[p.Good.SectorNumber])
	require.Len(t, got.Prints, 1)
	require.Equal(t, got.Prints, ask(true, p.Good).Prints, "nothing was changed")
	require.Len(t, got.Faults, 1)
	require.Equal(t, p.missing().SectorNumber, got.Faults[0].Sector)
	require.Equal(t, api.FaultMissing, got.Faults[0].Reason)
	require.True(t, got.Faults[0].Reason.Certain())
	got = ask(true, p.other())
	require.Len(t, got.Faults, 1)
	require.Equal(t, api.FaultOtherSeal, got.Faults[0].Reason)
	unsaid := api.ProvableRequest{Miner: p.Miner, Sectors: []api.ProvableSector{{Number: 7, SealProof: p.Good.SealProof}}}
	_, err := s.CheckProvable(ctx, unsaid)
	require.Equal(t, "check of sector 7", typed[*api.ErrInvalid](t, err).What)
}

func checkProverState(t *testing.T, p Proving, s api.Prover) {
	st, err := s.ProverState(t.Context())
	require.NoError(t, err)
	require.True(t, st.Opened)
	require.Empty(t, st.Unopened)
	require.Empty(t, st.Hung)
	require.Equal(t, []api.StorageID{p.Path}, st.Paths)
}
