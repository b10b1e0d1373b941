package api

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"
)

var aSector = SectorRef{ID: abi.SectorID{Miner: 1000, Number: 7}, ProofType: abi.RegisteredSealProof_StackedDrg2KiBV1_1}

// The words on the wire are for ever.
func TestWordsOfWork(t *testing.T) {
	require.Equal(t, []TaskType{"AP", "PC1", "PC2", "C1", "C2", "FIN", "UNS", "RU", "PR1", "PR2", "FRU"}, []TaskType{
		AddPiece.Type, PreCommit1.Type, PreCommit2.Type, Commit1.Type, Commit2.Type, Finalize.Type,
		Unseal.Type, UpdateReplica.Type, ProveUpdate1.Type, ProveUpdate2.Type, FinalizeUpdate.Type,
	})
	require.Equal(t, []UpdateFiles{"keep", "release-key", "abort"}, []UpdateFiles{UpdateKeep, UpdateReleaseKey, UpdateAbort})
	require.Equal(t, []TaskState{"queued", "running", "done", "failed"}, []TaskState{TaskQueued, TaskRunning, TaskDone, TaskFailed})
	require.Equal(t, 65536, MaxResult)
	require.Equal(t, 1000, MaxDeclare)
	require.Equal(t, 268435456, MaxBlob)
}

// The JSON of one task of each kind, field by field.
func TestFormOfTheWork(t *testing.T) {
	raw := json.RawMessage(`{"a":1}`)
	blob := BlobRef{CID: "c", Size: 5}
	for want, encode := range map[string]func() (json.RawMessage, error){
		`{"KeepUnsealed":true}`: func() (json.RawMessage, error) { return params(Finalize.Spec("k", aSector, FinalizeParams{true})) },
		`{"Do":"abort"}`: func() (json.RawMessage, error) {
			return params(FinalizeUpdate.Spec("k", aSector, FinalizeUpdateParams{UpdateAbort}))
		},
		`{"PreCommit1Out":{"a":1}}`: func() (json.RawMessage, error) {
			return params(PreCommit2.Spec("k", aSector, PreCommit2Params{PreCommit1Out{raw}}))
		},
		`{"Commitments":{"a":1}}`: func() (json.RawMessage, error) {
			return params(ProveUpdate1.Spec("k", aSector, ProveUpdate1Params{UpdateCommitments{raw}}))
		},
		`{"Pieces":null}`: func() (json.RawMessage, error) {
			return params(UpdateReplica.Spec("k", aSector, UpdateReplicaParams{}))
		},
		`{"Ticket":"AQ==","Pieces":null}`: func() (json.RawMessage, error) {
			return params(PreCommit1.Spec("k", aSector, PreCommit1Params{Ticket: abi.SealRandomness{1}}))
		},
		`{"Vanilla":{"CID":"c","Size":5}}`: func() (json.RawMessage, error) { return Commit1.Done(Commit1Result{blob}) },
		`{"Proof":"AP8="}`:                 func() (json.RawMessage, error) { return Commit2.Done(Commit2Result{[]byte{0, 255}}) },
		`{"a":1}`:                          func() (json.RawMessage, error) { return PreCommit1.Done(PreCommit1Out{raw}) },
		`{}`:                               func() (json.RawMessage, error) { return Unseal.Done(Nothing{}) },
		`{"SealedCID":"s","UnsealedCID":"u","Commitments":{"a":1}}`: func() (json.RawMessage, error) {
			return PreCommit2.Done(PreCommit2Result{"s", "u", SealCommitments{raw}})
		},
		`{"Ticket":null,"UnsealedCID":"u","Offset":1,"Size":2}`: func() (json.RawMessage, error) {
			return params(Unseal.Spec("k", aSector, UnsealParams{UnsealedCID: "u", Offset: 1, Size: 2}))
		},
	} {
		got, err := encode()
		require.NoError(t, err)
		require.JSONEq(t, want, string(got))
	}
}

func params(s TaskSpec, err error) (json.RawMessage, error) { return s.Params, err }

func TestSpec(t *testing.T) {
	spec, err := Finalize.Spec("key", aSector, FinalizeParams{KeepUnsealed: true})
	require.NoError(t, err)
	require.Equal(t, TaskSpec{Key: "key", Type: TaskFinalize, Sector: aSector, Params: json.RawMessage(`{"KeepUnsealed":true}`)}, spec)
	_, err = PreCommit2.Spec("key", aSector, PreCommit2Params{PreCommit1Out{json.RawMessage(`{`)}})
	require.ErrorContains(t, err, "encode PC2 task key")
	_, err = PreCommit1.Done(PreCommit1Out{json.RawMessage(`{`)})
	require.ErrorContains(t, err, "encode the result of a PC1 task")
}

func TestParamsRefused(t *testing.T) {
	spec, err := Finalize.Spec("key", aSector, FinalizeParams{})
	require.NoError(t, err)
	var invalid *ErrInvalid
	_, err = FinalizeUpdate.Params(spec)
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, &ErrInvalid{What: "task key", Reason: "it is of type FIN, not FRU"}, invalid)
	for _, raw := range []string{`{"KeepUnsealed":true,"Later":1}`, `{"KeepUnsealed":"yes"}`, `{`, ``, `[]`} {
		spec.Params = json.RawMessage(raw)
		_, err = Finalize.Params(spec)
		require.ErrorAs(t, err, &invalid, raw)
		require.Equal(t, "parameters of task key", invalid.What)
		require.Equal(t, "the other process may be of another version", invalid.Hint)
	}
}

func TestResult(t *testing.T) {
	done := TaskStatus{State: TaskDone, Spec: TaskSpec{Key: "key", Type: TaskCommit2},
		Result: json.RawMessage(`{"Proof":"AQ==","Later":1}`)}
	r, err := Commit2.Result(done)
	require.NoError(t, err, "a field that a later version added is left alone")
	require.Equal(t, Commit2Result{Proof: []byte{1}}, r)

	var busy *ErrBusy
	for _, state := range []TaskState{TaskQueued, TaskRunning} {
		st := done
		st.State = state
		require.False(t, st.Final())
		_, err = Commit2.Result(st)
		require.ErrorAs(t, err, &busy)
		require.Equal(t, &ErrBusy{What: "task key", Reason: "it is " + string(state)}, busy)
	}

	failed := done
	failed.State = TaskFailed
	require.True(t, failed.Final())
	_, err = Commit2.Result(failed)
	require.EqualError(t, err, "no reason was recorded")
	failed.Failure = NewFailure(&ErrPieceMismatch{Want: "a", Got: "b"}, false)
	_, err = Commit2.Result(failed)
	require.Same(t, failed.Failure, err)
	var mismatch *ErrPieceMismatch
	require.ErrorAs(t, err, &mismatch)
	_, err = Commit1.Result(failed)
	require.ErrorAs(t, err, &mismatch, "why it failed matters, whoever asks")

	var invalid *ErrInvalid
	_, err = ProveUpdate2.Result(done)
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, &ErrInvalid{What: "task key", Reason: "it is of type C2, not PR2"}, invalid)
	done.Result = json.RawMessage(`{"Proof":5}`)
	_, err = Commit2.Result(done)
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, "result of task key", invalid.What)
	require.NotEmpty(t, invalid.Hint)
	require.False(t, errors.As(err, &busy))
}

func TestBlobsOf(t *testing.T) {
	ref := BlobRef{CID: "c", Size: 5}
	require.True(t, ref.Defined())
	require.False(t, BlobRef{Size: 5}.Defined())
	named, asks := json.RawMessage(`{"Vanilla":{"CID":"c","Size":5}}`), map[TaskType]json.RawMessage{}
	c2, err := Commit2.Spec("k", aSector, Commit2Params{Vanilla: ref})
	require.NoError(t, err)
	pr2, err := ProveUpdate2.Spec("k", aSector, ProveUpdate2Params{Vanilla: ref})
	require.NoError(t, err)
	asks[TaskCommit2], asks[TaskProveUpdate2] = c2.Params, pr2.Params
	for _, typ := range []TaskType{TaskAddPiece, TaskPreCommit1, TaskPreCommit2, TaskCommit1, TaskCommit2, TaskFinalize, TaskUnseal,
		TaskUpdate, TaskProveUpdate1, TaskProveUpdate2, TaskFinalizeUpdate, "later"} {
		for _, state := range []TaskState{TaskQueued, TaskRunning, TaskDone, TaskFailed} {
			st := TaskStatus{State: state, Spec: TaskSpec{Key: "k", Type: typ, Params: asks[typ]}, Result: named}
			gives := state == TaskDone && (typ == TaskCommit1 || typ == TaskProveUpdate1)
			if gives || asks[typ] != nil {
				require.Equal(t, []BlobRef{ref}, BlobsOf(st), "%s %s", typ, state)
			} else {
				require.Empty(t, BlobsOf(st), "%s %s", typ, state)
			}
		}
	}
	nothing := TaskStatus{State: TaskDone, Spec: TaskSpec{Type: TaskCommit1}, Result: json.RawMessage(`{}`)}
	require.Empty(t, BlobsOf(nothing), "it names none")
	damaged := TaskStatus{State: TaskQueued, Spec: TaskSpec{Type: TaskCommit2, Params: json.RawMessage(`{`)}}
	require.Empty(t, BlobsOf(damaged))
}
