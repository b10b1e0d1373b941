package apitest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// reachable gives the first sector all its files, on the path that [someWorker]
// has.
func reachable(t *testing.T, s api.Storage) {
	t.Helper()
	attach(t, s, api.PathMeta{ID: "p", Weight: 1, CanSeal: true, CanStore: true}, "http://h:1/remote", 1<<50)
	var files []api.SectorFile
	for _, kind := range api.AllFileTypes {
		files = append(files, fileOf("p", kind))
	}
	require.NoError(t, s.StorageDeclareSectors(t.Context(), files))
}

// kind checks that what goes into one kind of work and what comes out of it
// arrive as they were sent.
func kind[P, R any](k api.Task[P, R], p P, r R) func(t *testing.T, s api.Storage) {
	return func(t *testing.T, s api.Storage) {
		t.Helper()
		w := someWorker()
		spec, err := k.Spec("key of "+string(k.Type), api.SectorRef{ID: sectorOne, ProofType: proof2KiB}, p)
		require.NoError(t, err)
		id := submit(t, s, spec).ID
		_, err = k.Result(taskNow(t, s, id))
		require.Equal(t, &api.ErrBusy{What: "task " + spec.Key, Reason: "it is queued"}, typed[*api.ErrBusy](t, err))
		got := claim(t, s, w)
		require.Equal(t, id, got.ID)
		asked, err := k.Params(got.Spec)
		require.NoError(t, err)
		require.Equal(t, p, asked)
		result, err := k.Done(r)
		require.NoError(t, err)
		require.NoError(t, s.WorkerDone(t.Context(), api.TaskReport{Worker: w.ID, Task: id, Attempt: 1, Result: result}))
		gave, err := k.Result(taskNow(t, s, id))
		require.NoError(t, err)
		require.Equal(t, r, gave)
	}
}

// everyKind is one task of each kind, with blob as the bulk of those that have
// any.
func everyKind(blob api.BlobRef) []func(*testing.T, api.Storage) {
	c := cid.MustParse("bafk2bzaceceil7thkfhy4wpdqztwhacqjj2ynq6cnlawsxodkkewfoh7ukb2c")
	piece := abi.PieceInfo{Size: 2048, PieceCID: c}
	raw := json.RawMessage(`{"Big":18446744073709551615,"List":[1,null]}`)
	ticket, seed := abi.SealRandomness{1, 0, 255}, abi.InteractiveSealRandomness{2}
	seal := proof.SealVerifyInfo{
		SealProof:             proof2KiB,
		SectorID:              sectorOne,
		Randomness:            ticket,
		InteractiveRandomness: seed,
		SealedCID:             c,
		UnsealedCID:           c,
	}
	data := api.DataRef{URL: "http://h/x?<&>", Token: "t", Size: 1 << 62}
	update := proof.ReplicaUpdateInfo{UpdateProofType: 3, OldSealedSectorCID: c, NewSealedSectorCID: c, NewUnsealedSectorCID: c}
	return []func(*testing.T, api.Storage){
		kind(api.AddPiece, api.AddPieceParams{Existing: []abi.PieceInfo{piece}, Piece: piece, Data: data}, piece),
		kind(api.PreCommit1, api.PreCommit1Params{Ticket: ticket, Pieces: []abi.PieceInfo{piece, piece}},
			api.PreCommit1Out{RawMessage: raw}),
		kind(api.PreCommit2, api.PreCommit2Params{PreCommit1Out: api.PreCommit1Out{RawMessage: raw}},
			api.PreCommit2Result{SealedCID: "s", UnsealedCID: "u", Commitments: api.SealCommitments{RawMessage: raw}}),
		kind(api.Commit1, api.Commit1Params{Ticket: ticket, Seed: seed, Commitments: api.SealCommitments{RawMessage: raw}},
			api.Commit1Result{Vanilla: blob}),
		kind(api.Commit2, api.Commit2Params{Info: seal, Vanilla: blob}, api.Commit2Result{Proof: []byte{0, 255}}),
		kind(api.Finalize, api.FinalizeParams{KeepUnsealed: true}, api.Nothing{}),
		kind(api.Unseal, api.UnsealParams{
			Ticket:       ticket,
			UnsealedCID:  "u",
			Offset:       128,
			Size:         256,
			SectorKeyCID: "k",
		}, api.Nothing{}),
		kind(api.UpdateReplica, api.UpdateReplicaParams{Pieces: []abi.PieceInfo{piece}},
			api.UpdateReplicaResult{SealedCID: "s", UnsealedCID: "u", Commitments: api.UpdateCommitments{RawMessage: raw}}),
		kind(api.ProveUpdate1, api.ProveUpdate1Params{Commitments: api.UpdateCommitments{RawMessage: raw}},
			api.ProveUpdate1Result{Vanilla: blob}),
		kind(api.ProveUpdate2, api.ProveUpdate2Params{Info: update, Vanilla: blob}, api.ProveUpdate2Result{Proof: []byte{1}}),
		kind(api.FinalizeUpdate, api.FinalizeUpdateParams{Do: api.UpdateReleaseKey}, api.Nothing{}),
	}
}

func checkKinds(t *testing.T, s api.Storage) {
	reachable(t, s)
	blob := api.BlobRef{CID: "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy", Size: 11 << 20}
	for _, one := range everyKind(blob) {
		one(t, s)
	}
	list, _, err := s.TaskList(t.Context(), "", 0)
	require.NoError(t, err)
	require.Len(t, list, len(someWorker().TaskTypes))
	named := 0
	for _, st := range list {
		require.Empty(t, st.Spec.Params, "%s: a list shows no parameters", st.Spec.Key)
		require.Empty(t, st.Result, "%s: a list shows no results", st.Spec.Key)
		st, err := s.TaskGet(t.Context(), st.ID)
		require.NoError(t, err)
		if refs := api.BlobsOf(st); len(refs) > 0 {
			require.Equal(t, []api.BlobRef{blob}, refs, st.Spec.Key)
			named++
		}
	}
	require.Equal(t, 4, named, "C1 and PR1 by what they gave, C2 and PR2 by what they ask")
}

// filled makes an error of the type of proto with every field set.
func filled(proto error) error {
	v := reflect.New(reflect.TypeOf(proto).Elem())
	for i := range v.Elem().NumField() {
		switch f := v.Elem().Field(i); f.Kind() {
		case reflect.String:
			f.SetString(fmt.Sprintf("field %d \"quoted\" <&> é", i))
		case reflect.Uint64:
			f.SetUint(1<<63 + 1)
		default:
			panic("extend filled for " + f.Type().String())
		}
	}
	return v.Interface().(error) // as proto is
}

// failed runs a task to its end with a failure and gives what is told of it.
func failed(t *testing.T, s api.Storage, key string, f *api.Failure) api.TaskStatus {
	t.Helper()
	w := someWorker()
	id := submit(t, s, task(key, 1)).ID
	require.Equal(t, id, claim(t, s, w).ID)
	require.NoError(t, s.WorkerDone(t.Context(), api.TaskReport{Worker: w.ID, Task: id, Attempt: 1, Failure: f}))
	return taskNow(t, s, id)
}

func checkFailures(t *testing.T, s api.Storage) {
	for code, proto := range api.ErrorTable() {
		want := filled(proto)
		err := fmt.Errorf("prove sector 1: %w", want)
		st := failed(t, s, fmt.Sprint("code ", code), api.NewFailure(err, false))
		require.Equal(t, api.TaskFailed, st.State)
		_, got := api.Commit2.Result(st)
		require.EqualError(t, got, err.Error())
		target := reflect.New(reflect.TypeOf(proto))
		require.True(t, errors.As(got, target.Interface()), "%T", proto)
		require.Equal(t, want, target.Elem().Interface())
		require.Equal(t, api.IsTemporary(err), api.IsTemporary(got))
	}
	st := failed(t, s, "unknown code", &api.Failure{Text: "of a later version", Code: 1 << 20, Detail: json.RawMessage(`{"A":1}`)})
	_, got := api.Commit2.Result(st)
	require.EqualError(t, got, "of a later version")
	require.NoError(t, errors.Unwrap(got))
}

func checkRetryable(t *testing.T, s api.Storage) {
	ctx, w := t.Context(), someWorker()
	why := api.NewFailure(&api.ErrUnreachable{Peer: "p", Reason: "r"}, true)
	st := failed(t, s, "again", why)
	require.Equal(t, api.TaskQueued, st.State)
	require.Equal(t, "p is unreachable: r", st.Failure.Text)
	require.True(t, st.Failure.Retryable)
	require.Empty(t, st.Worker)
	require.NoError(t, s.TaskRetry(ctx, st.ID))
	got := claim(t, s, w)
	require.Equal(t, st.ID, got.ID)
	require.Equal(t, 2, got.Attempts)
	require.NoError(t, s.WorkerDone(ctx, api.TaskReport{Worker: w.ID, Task: st.ID, Attempt: 2, Failure: &api.Failure{Text: "hopeless"}}))
	st = taskNow(t, s, st.ID)
	require.Equal(t, api.TaskFailed, st.State)
	require.Equal(t, &api.Failure{Text: "hopeless"}, st.Failure)
	noClaim(t, s, w)
	require.Equal(t, api.TaskFailed, submit(t, s, task("again", 1)).State, "its key tells of it until it is forgotten")
}
