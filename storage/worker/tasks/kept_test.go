package tasks

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/proofs/commp"
)

// TestReleaseOfTheOldReplicaNeedsTheNewOneProven.
func TestReleaseOfTheOldReplicaNeedsTheNewOneProven(t *testing.T) {
	s, _ := sealedSession(t)
	pieces := []abi.PieceInfo{{PieceCID: commp.ZeroPiece(1024), Size: 1024}}
	release := func() error {
		_, err := s.finalizeUpdate(t.Context(), api.FinalizeUpdateParams{Do: api.UpdateReleaseKey})
		return err
	}
	require.ErrorContains(t, release(), "is kept", "there is no new one")
	_, err := s.updateReplica(t.Context(), api.UpdateReplicaParams{Pieces: pieces})
	require.NoError(t, err)
	good, err := os.ReadFile(s.file(api.FileUpdate))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.file(api.FileUpdate), make([]byte, testSize), 0o600))
	require.ErrorContains(t, release(), "is kept")
	require.Equal(t, []api.StorageID{"a-work"}, s.where(t, api.FileSealed))
	require.NoError(t, os.WriteFile(s.file(api.FileUpdate), good, 0o600))
	require.NoError(t, release())
	require.Empty(t, s.where(t, api.FileSealed))
	require.Empty(t, s.where(t, api.FileCache))
}

// TestUpdateGoesOn behind what an earlier attempt made, wherever it was stopped,
// and encodes nothing twice.
func TestUpdateGoesOn(t *testing.T) {
	pieces := []abi.PieceInfo{{PieceCID: commp.ZeroPiece(1024), Size: 1024}}
	for _, published := range []bool{false, true} {
		s, _ := sealedSession(t)
		if published { // stopped between the cache and the replica
			real := s.job.Claim
			s.job.Claim = &lostAfter{claimed: s.claim, left: 2}
			_, err := s.updated(t.Context(), pieces)
			require.Error(t, err)
			require.Equal(t, []api.StorageID{"a-work"}, s.where(t, api.FileUpdateCache))
			s.job.Claim = real
		} else {
			s.claim.lost = &api.ErrLeaseLost{What: "task"}
			_, err := s.updated(t.Context(), pieces)
			require.ErrorIs(t, err, s.claim.lost)
			require.Empty(t, s.where(t, api.FileUpdateCache))
			s.claim.lost = nil
		}
		require.Empty(t, s.where(t, api.FileUpdate))
		written := modified(t, filepath.Dir(s.made(t, api.FileUpdate)), filepath.Base(s.made(t, api.FileUpdate)))
		com, err := s.updated(t.Context(), pieces)
		require.NoError(t, err)
		require.Equal(t, written, modified(t, filepath.Dir(s.file(api.FileUpdate)), filepath.Base(s.file(api.FileUpdate))))
		require.NoError(t, s.proveForm(t.Context(), s.at, asUpdated, com.SealedCID()))
		require.Equal(t, []api.StorageID{"a-work"}, s.where(t, api.FileUpdate))
		again, err := s.updated(t.Context(), pieces)
		require.NoError(t, err)
		require.Equal(t, com, again)
		require.Equal(t, written, modified(t, filepath.Dir(s.file(api.FileUpdate)), filepath.Base(s.file(api.FileUpdate))))
	}
}

// lostAfter is a claim that is lost after some confirmations.
type lostAfter struct {
	*claimed
	left int
}

func (l *lostAfter) Confirm(context.Context) error {
	if l.left--; l.left < 0 {
		return &api.ErrLeaseLost{What: "task"}
	}
	return nil
}

// awayNode is a private node that answers nothing.
type awayNode struct{ Node }

func (awayNode) StorageFindSector(context.Context, abi.SectorID, api.FileType) ([]api.SectorLocationInfo, error) {
	return nil, &api.ErrUnreachable{Peer: "node"}
}

// TestNothingIsDeletedWithoutTheNode: every task that deletes is tried with a node
// that answers nothing, and with one that says that the claim is lost; all files
// are there afterwards.
func TestNothingIsDeletedWithoutTheNode(t *testing.T) {
	pieces := []abi.PieceInfo{{PieceCID: commp.ZeroPiece(1024), Size: 1024}}
	for name, work := range map[string]func(ctx context.Context, s *session) error{
		"FIN": func(ctx context.Context, s *session) error {
			_, err := s.finalize(ctx, api.FinalizeParams{})
			return err
		},
		"FRU keep":    fru(api.UpdateKeep),
		"FRU release": fru(api.UpdateReleaseKey),
		"FRU abort":   fru(api.UpdateAbort),
		"AP": func(ctx context.Context, s *session) error {
			_, err := s.addPiece(ctx, api.AddPieceParams{Existing: pieces, Piece: pieces[0]})
			return err
		},
		"PC1": func(ctx context.Context, s *session) error {
			_, err := s.layers(ctx, api.PreCommit1Params{Ticket: ticketOf(8)})
			return err
		},
		"RU": func(ctx context.Context, s *session) error {
			_, err := s.updated(ctx, []abi.PieceInfo{{PieceCID: commp.ZeroPiece(2048), Size: 2048}})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := sealedSession(t)
			_, err := s.updateReplica(t.Context(), api.UpdateReplicaParams{Pieces: pieces})
			require.NoError(t, err)
			for _, typ := range api.AllFileTypes {
				s.copied(t, typ)
			}
			before := all(t, s)
			node := s.node
			s.node, s.claim.lost = awayNode{node}, context.Canceled // a claim waits until the worker is stopped
			require.Error(t, work(t.Context(), s))
			s.node = node
			s.claim.lost = &api.ErrLeaseLost{What: "task"}
			require.Error(t, work(t.Context(), s))
			after := all(t, s)
			for n, sum := range before {
				require.Equal(t, sum, after[n], n)
			}
		})
	}
}

func fru(what api.UpdateFiles) func(ctx context.Context, s *session) error {
	return func(ctx context.Context, s *session) error {
		_, err := s.finalizeUpdate(ctx, api.FinalizeUpdateParams{Do: what})
		return err
	}
}

// all are the sector's files on all paths.
func all(t *testing.T, s *session) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, p := range s.local.Paths() {
		for _, typ := range api.AllFileTypes {
			err := filepath.WalkDir(p.FilePath(s.sector.ID, typ), func(name string, d os.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				b, err := os.ReadFile(name)
				out[name] = sumOf(b)
				return err
			})
			require.NoError(t, errors.Join(err))
		}
	}
	return out
}
