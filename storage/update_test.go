package storage_test

import (
	"bytes"
	"context"
	"os"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/proofs/commp"
	"quarry/proofs/post"
	"quarry/proofs/update"
	"quarry/storage"
	"quarry/storage/paths"
)

const updateProof = abi.RegisteredUpdateProof_StackedDrg2KiBV1

// updating is a sector of zeros, on its path for keeping, that takes data.
type updating struct {
	*storage.Manager
	local  *paths.Local
	t      *testing.T
	data   []byte
	pieces []abi.PieceInfo
	old    cid.Cid // CommR before
	fresh  cid.Cid // and after
	dataID cid.Cid // CommD after
	ru     api.UpdateReplicaResult
}

func newUpdating(t *testing.T) *updating {
	t.Helper()
	m, local := newManager(t, memStore(), newDir(t, "scratch", true, false), newDir(t, "keep", false, true))
	background(t, m.Run)
	background(t, newWorker(t, m, local, memStore()).Run)
	u := &updating{Manager: m, local: local, t: t}
	pc1 := do[api.PreCommit1Out](t, m, "PC1", api.TaskPreCommit1, ref, api.PreCommit1Params{Ticket: ticket})
	pc2 := do[api.PreCommit2Result](t, m, "PC2", api.TaskPreCommit2, ref, api.PreCommit2Params{PreCommit1Out: pc1})
	u.old = parse(t, pc2.SealedCID)
	do[any](t, m, "FIN", api.TaskFinalize, ref, api.FinalizeParams{})

	data, add := piece(t, 1000, 1024)
	filler := abi.PieceInfo{PieceCID: commp.ZeroPiece(1024), Size: 1024}
	u.data, u.pieces = data, []abi.PieceInfo{add.Piece, filler}
	do[abi.PieceInfo](t, m, "AP0", api.TaskAddPiece, ref, add)
	do[abi.PieceInfo](t, m, "AP1", api.TaskAddPiece, ref, api.AddPieceParams{Existing: u.pieces[:1], Piece: filler})
	u.ru = do[api.UpdateReplicaResult](t, m, "RU", api.TaskUpdate, ref, api.UpdateReplicaParams{Pieces: u.pieces})
	u.fresh, u.dataID = parse(t, u.ru.SealedCID), parse(t, u.ru.UnsealedCID)
	return u
}

func parse(t *testing.T, s api.CidString) cid.Cid {
	t.Helper()
	c, err := cid.Parse(string(s))
	require.NoError(t, err)
	return c
}

// spacetime proves the sector as the chain that has commR would ask.
func (u *updating) spacetime(commR cid.Cid, key *cid.Cid) {
	u.t.Helper()
	ctx, rand := context.Background(), abi.PoStRandomness(bytes.Repeat([]byte{3}, 32))
	info := proof.SectorInfo{SealProof: sealProof, SectorNumber: ref.ID.Number, SealedCID: commR}
	win, err := u.ProveWindow(ctx, api.WindowPoStRequest{Miner: 1000, Randomness: rand, Sectors: []proof.SectorInfo{info}})
	require.NoError(u.t, err)
	require.Empty(u.t, win.Skipped)
	ok, err := post.VerifyWindow(ctx, proof.WindowPoStVerifyInfo{Randomness: rand, Prover: 1000,
		ChallengedSectors: []proof.SectorInfo{info}}, win.Vanilla)
	require.NoError(u.t, err)
	require.True(u.t, ok)
	blob, err := u.ProveWinning(ctx, api.WinningPoStRequest{Miner: 1000, Randomness: rand,
		Sectors: []proof.ExtendedSectorInfo{{SealProof: sealProof, SectorNumber: ref.ID.Number, SectorKey: key, SealedCID: commR}}})
	require.NoError(u.t, err)
	ok, err = post.VerifyWinning(ctx, proof.WinningPoStVerifyInfo{Randomness: rand, Prover: 1000,
		ChallengedSectors: []proof.SectorInfo{info}}, blob)
	require.NoError(u.t, err)
	require.True(u.t, ok)
	require.Empty(u.t, unprovable(u.t, u.Manager, commR, ref))
}

func (u *updating) where(k api.FileType) []api.StorageID {
	u.t.Helper()
	locs, err := u.StorageFindSector(context.Background(), ref.ID, k)
	require.NoError(u.t, err)
	out := []api.StorageID{}
	for _, l := range locs {
		out = append(out, l.Storage)
	}
	return out
}

func (u *updating) loseUnsealed() {
	u.t.Helper()
	p, ok := u.local.Find(context.Background(), ref.ID, api.FileUnsealed)
	require.True(u.t, ok)
	require.NoError(u.t, os.Remove(p.FilePath(ref.ID, api.FileUnsealed)))
	require.NoError(u.t, u.StorageDropSectors(context.Background(),
		[]api.SectorFile{{Sector: ref.ID, Type: api.FileUnsealed, Storage: p.Meta.ID}}))
}

// TestUpdatedSectorStaysProvable follows a sector through its update: before,
// while the chain may have either replica, and after the old one has gone.
func TestUpdatedSectorStaysProvable(t *testing.T) {
	u := newUpdating(t)
	require.NotEqual(t, u.old, u.fresh)
	want, err := commp.CommD(sealProof, u.pieces)
	require.NoError(t, err)
	require.Equal(t, want, u.dataID)
	u.spacetime(u.old, nil)
	u.spacetime(u.fresh, &u.old)

	pr := do[api.ProveUpdate1Result](t, u.Manager, "PR1", api.TaskProveUpdate1, ref, api.ProveUpdate1Params{Commitments: u.ru.Commitments})
	info := proof.ReplicaUpdateInfo{UpdateProofType: updateProof, OldSealedSectorCID: u.old, NewSealedSectorCID: u.fresh,
		NewUnsealedSectorCID: u.dataID}
	ok, err := update.Verify(context.Background(), info, read(t, u.Manager, pr.Vanilla))
	require.NoError(t, err)
	require.True(t, ok)

	// Done again, it gives the same and is proved again.
	again := do[api.UpdateReplicaResult](t, u.Manager, "RU again", api.TaskUpdate, ref, api.UpdateReplicaParams{Pieces: u.pieces})
	require.Equal(t, u.ru, again)
	require.Equal(t, pr, do[api.ProveUpdate1Result](t, u.Manager, "PR1 again", api.TaskProveUpdate1, ref,
		api.ProveUpdate1Params{Commitments: u.ru.Commitments}))

	for i, key := range []string{"keep", "keep once more"} {
		do[any](t, u.Manager, key, api.TaskFinalizeUpdate, ref, api.FinalizeUpdateParams{Do: api.UpdateKeep})
		for _, k := range []api.FileType{api.FileUpdate, api.FileUpdateCache, api.FileUnsealed, api.FileSealed, api.FileCache} {
			require.Equal(t, []api.StorageID{"keep"}, u.where(k), "%s, round %d", k, i)
		}
	}
	u.spacetime(u.old, nil)
	u.spacetime(u.fresh, &u.old)
	readBack(t, u.Manager, u.local, ref, u.data)

	u.loseUnsealed()
	unseal := api.UnsealParams{Ticket: ticket, UnsealedCID: u.ru.UnsealedCID, SectorKeyCID: api.CidString(u.old.String()), Size: 1024}
	do[any](t, u.Manager, "UNS", api.TaskUnseal, ref, unseal)
	readBack(t, u.Manager, u.local, ref, u.data)

	for i, key := range []string{"release", "release once more"} {
		do[any](t, u.Manager, key, api.TaskFinalizeUpdate, ref, api.FinalizeUpdateParams{Do: api.UpdateReleaseKey})
		require.Empty(t, u.where(api.FileSealed), "round %d", i)
		require.Empty(t, u.where(api.FileCache), "round %d", i)
	}
	u.spacetime(u.fresh, &u.old)
	do[any](t, u.Manager, "UNS of what is there", api.TaskUnseal, ref, unseal)
	u.loseUnsealed()
	st := submit(t, u.Manager, "UNS of what is gone", api.TaskUnseal, ref, unseal)
	require.Equal(t, api.TaskFailed, st.State)
	require.False(t, st.Failure.Retryable)
	require.Contains(t, st.Failure.Text, "not built yet")
}

func TestAbortedUpdateLeavesTheSectorAsItWas(t *testing.T) {
	u := newUpdating(t)
	do[any](t, u.Manager, "abort", api.TaskFinalizeUpdate, ref, api.FinalizeUpdateParams{Do: api.UpdateAbort})
	for _, k := range []api.FileType{api.FileUpdate, api.FileUpdateCache, api.FileUnsealed} {
		require.Empty(t, u.where(k), k.String())
	}
	u.spacetime(u.old, nil)
	st := submit(t, u.Manager, "release too early", api.TaskFinalizeUpdate, ref, api.FinalizeUpdateParams{Do: api.UpdateReleaseKey})
	require.Equal(t, api.TaskFailed, st.State)
	u.spacetime(u.old, nil)
	st = submit(t, u.Manager, "nonsense", api.TaskFinalizeUpdate, ref, api.FinalizeUpdateParams{Do: "melt"})
	require.Equal(t, api.TaskFailed, st.State)
	require.Contains(t, st.Failure.Text, "melt")
}

// TestDamagedUpdateIsNoticed: neither replica may hide the faults of the other.
func TestDamagedUpdateIsNoticed(t *testing.T) {
	u := newUpdating(t)
	p, ok := u.local.Find(context.Background(), ref.ID, api.FileUpdate)
	require.True(t, ok)
	require.NoError(t, os.WriteFile(p.FilePath(ref.ID, api.FileUpdate), make([]byte, 2048), 0o600))
	bad := unprovable(t, u.Manager, u.fresh, ref)
	require.Len(t, bad, 1)
	require.Equal(t, api.FaultDamaged, bad[0].Reason)
	require.Empty(t, unprovable(t, u.Manager, u.old, ref))
	info := []proof.SectorInfo{{SealProof: sealProof, SectorNumber: ref.ID.Number, SealedCID: u.fresh}}
	rand := abi.PoStRandomness(bytes.Repeat([]byte{3}, 32))
	win, err := u.ProveWindow(context.Background(), api.WindowPoStRequest{Miner: 1000, Randomness: rand, Sectors: info})
	require.NoError(t, err)
	require.Len(t, win.Skipped, 1)
	require.Equal(t, ref.ID.Number, win.Skipped[0].Sector)
	// The chain still has the old one: that is proved all the same.
	info[0].SealedCID = u.old
	win, err = u.ProveWindow(context.Background(), api.WindowPoStRequest{Miner: 1000, Randomness: rand, Sectors: info})
	require.NoError(t, err)
	require.Empty(t, win.Skipped)
}

func TestUpdateWithoutItsDataIsRefused(t *testing.T) {
	u := newUpdating(t)
	other := []abi.PieceInfo{{PieceCID: u.pieces[0].PieceCID, Size: 2048}}
	st := submit(t, u.Manager, "RU of another piece", api.TaskUpdate, ref, api.UpdateReplicaParams{Pieces: other})
	require.Equal(t, api.TaskFailed, st.State)
	u.spacetime(u.fresh, &u.old) // the good one is still there
	u.loseUnsealed()
	// What was made of the data is there and is proven: it is given again.
	again := do[api.UpdateReplicaResult](t, u.Manager, "RU once more", api.TaskUpdate, ref, api.UpdateReplicaParams{Pieces: u.pieces})
	require.Equal(t, u.ru, again)
	u.spacetime(u.fresh, &u.old)
	do[any](t, u.Manager, "abort", api.TaskFinalizeUpdate, ref, api.FinalizeUpdateParams{Do: api.UpdateAbort})
	st = submit(t, u.Manager, "RU of nothing", api.TaskUpdate, ref, api.UpdateReplicaParams{Pieces: u.pieces})
	require.Equal(t, api.TaskFailed, st.State)
	u.spacetime(u.old, nil)
}
