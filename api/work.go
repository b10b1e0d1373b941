package api

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
)

// Task is a kind of work with the types of what goes in and what comes out. It
// is the only thing that writes and reads the JSON of a TaskSpec and of a result.
type Task[P, R any] struct{ Type TaskType }

// The work that there is.
var (
	AddPiece       = Task[AddPieceParams, abi.PieceInfo]{TaskAddPiece}
	PreCommit1     = Task[PreCommit1Params, PreCommit1Out]{TaskPreCommit1}
	PreCommit2     = Task[PreCommit2Params, PreCommit2Result]{TaskPreCommit2}
	Commit1        = Task[Commit1Params, Commit1Result]{TaskCommit1}
	Commit2        = Task[Commit2Params, Commit2Result]{TaskCommit2}
	Finalize       = Task[FinalizeParams, Nothing]{TaskFinalize}
	Unseal         = Task[UnsealParams, Nothing]{TaskUnseal}
	UpdateReplica  = Task[UpdateReplicaParams, UpdateReplicaResult]{TaskUpdate}
	ProveUpdate1   = Task[ProveUpdate1Params, ProveUpdate1Result]{TaskProveUpdate1}
	ProveUpdate2   = Task[ProveUpdate2Params, ProveUpdate2Result]{TaskProveUpdate2}
	FinalizeUpdate = Task[FinalizeUpdateParams, Nothing]{TaskFinalizeUpdate}
)

// Nothing is the result of work that leaves files only.
type Nothing struct{}

// Spec makes the submission of one such task.
func (t Task[P, R]) Spec(key string, s SectorRef, p P) (TaskSpec, error) {
	raw, err := json.Marshal(p)
	if err != nil {
		return TaskSpec{}, fmt.Errorf("encode %s task %s: %w", t.Type, key, err)
	}
	return TaskSpec{Key: key, Type: t.Type, Sector: s, Params: raw}, nil
}

// Params reads what a submission asks for; *ErrInvalid where it is for other
// work or holds what this version does not know.
func (t Task[P, R]) Params(spec TaskSpec) (p P, err error) {
	if spec.Type != t.Type {
		return p, &ErrInvalid{What: "task " + spec.Key, Reason: fmt.Sprintf("it is of type %s, not %s", spec.Type, t.Type)}
	}
	d := json.NewDecoder(bytes.NewReader(spec.Params))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return p, &ErrInvalid{What: "parameters of task " + spec.Key, Reason: err.Error(),
			Hint: "the other process may be of another version"}
	}
	return p, nil
}

// Done encodes what the work gave.
func (t Task[P, R]) Done(r R) (json.RawMessage, error) {
	raw, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode the result of a %s task: %w", t.Type, err)
	}
	return raw, nil
}

// Result reads what a finished task gave: its *Failure as the error when it
// failed, *ErrBusy while it is not final, *ErrInvalid when this version cannot
// read the result.
func (t Task[P, R]) Result(st TaskStatus) (r R, err error) {
	switch {
	case !st.Final():
		return r, &ErrBusy{What: "task " + st.Spec.Key, Reason: "it is " + string(st.State)}
	case st.State == TaskFailed && st.Failure != nil:
		return r, st.Failure
	case st.State == TaskFailed:
		return r, &Failure{Text: "no reason was recorded"}
	case st.Spec.Type != t.Type:
		return r, &ErrInvalid{What: "task " + st.Spec.Key, Reason: fmt.Sprintf("it is of type %s, not %s", st.Spec.Type, t.Type)}
	}
	if err := json.Unmarshal(st.Result, &r); err != nil {
		return r, &ErrInvalid{What: "result of task " + st.Spec.Key, Reason: err.Error(), Hint: "it is done again under another key"}
	}
	return r, nil
}

// BlobsOf lists the bulk results that a task names, in what goes in and what
// came out.
func BlobsOf(st TaskStatus) []BlobRef {
	var out []BlobRef
	add := func(r BlobRef, err error) {
		if err == nil && r.Defined() {
			out = append(out, r)
		}
	}
	switch st.Spec.Type {
	case TaskCommit1:
		r, err := Commit1.Result(st)
		add(r.Vanilla, err)
	case TaskProveUpdate1:
		r, err := ProveUpdate1.Result(st)
		add(r.Vanilla, err)
	case TaskCommit2:
		p, err := Commit2.Params(st.Spec)
		add(p.Vanilla, err)
	case TaskProveUpdate2:
		p, err := ProveUpdate2.Params(st.Spec)
		add(p.Vanilla, err)
	}
	return out
}

// PreCommit1Out is what the first phase of sealing hands to the second; only
// workers look inside.
type PreCommit1Out struct{ json.RawMessage }

// SealCommitments is what PC2 hands to the proof; only workers look inside.
type SealCommitments struct{ json.RawMessage }

// UpdateCommitments is what an update hands to its proof; only workers look
// inside.
type UpdateCommitments struct{ json.RawMessage }

// AddPieceParams appends a piece to a sector's unsealed file.
type AddPieceParams struct {
	Existing []abi.PieceInfo // pieces already in the file, in order
	Piece    abi.PieceInfo   // expected commitment and padded size
	Data     DataRef         // zero value: filler of zeros
}

// PreCommit1Params starts sealing. The unsealed file must be complete, or
// absent for a sector of zeros only.
type PreCommit1Params struct {
	Ticket abi.SealRandomness
	Pieces []abi.PieceInfo
}

// PreCommit2Params carries the opaque output of PC1.
type PreCommit2Params struct {
	PreCommit1Out PreCommit1Out
}

// PreCommit2Result are the commitments; CIDs are fil-commitment CIDs.
type PreCommit2Result struct {
	SealedCID   CidString
	UnsealedCID CidString
	Commitments SealCommitments
}

// CidString is a CID in its string form.
type CidString string

// Commit1Params asks for the vanilla proof of a sealed sector.
type Commit1Params struct {
	Ticket      abi.SealRandomness
	Seed        abi.InteractiveSealRandomness
	Commitments SealCommitments
}

// Commit1Result names the vanilla proof: 11 MB for a 32 GiB sector.
type Commit1Result struct{ Vanilla BlobRef }

// Commit2Params asks for the Groth16 proof of what a vanilla proof proves. Info
// is what the chain will verify against; its Proof field is empty.
type Commit2Params struct {
	Info    proof.SealVerifyInfo
	Vanilla BlobRef // as in Commit1Result
}

// Commit2Result is the proof field of the chain's messages: 192 bytes for each
// partition of the seal proof.
type Commit2Result struct{ Proof []byte }

// FinalizeParams drops what proving does not need and moves the sector to
// long-term storage.
type FinalizeParams struct{ KeepUnsealed bool }

// UnsealParams brings back a range of the unsealed file, in padded bytes.
type UnsealParams struct {
	Ticket      abi.SealRandomness
	UnsealedCID CidString
	Offset      abi.PaddedPieceSize
	Size        abi.PaddedPieceSize
	// SectorKeyCID is the sealed CID before the update, for a sector that was
	// updated; UnsealedCID is the one after it.
	SectorKeyCID CidString `json:",omitempty"`
}

// UpdateReplicaParams puts data into an empty sealed sector. The unsealed file
// must be complete.
type UpdateReplicaParams struct{ Pieces []abi.PieceInfo }

// UpdateReplicaResult are the commitments after the update.
type UpdateReplicaResult struct {
	SealedCID   CidString
	UnsealedCID CidString
	Commitments UpdateCommitments
}

// ProveUpdate1Params asks for the vanilla proof of an update.
type ProveUpdate1Params struct{ Commitments UpdateCommitments }

// ProveUpdate1Result names the vanilla proof.
type ProveUpdate1Result struct{ Vanilla BlobRef }

// ProveUpdate2Params asks for the Groth16 proof of what a vanilla proof proves.
// The Proof field of Info is empty.
type ProveUpdate2Params struct {
	Info    proof.ReplicaUpdateInfo
	Vanilla BlobRef
}

// ProveUpdate2Result is the proof field of the chain's messages.
type ProveUpdate2Result struct{ Proof []byte }

// FinalizeUpdateParams says what to do with the files of an update.
type FinalizeUpdateParams struct{ Do UpdateFiles }

// UpdateFiles is one of the things that can be done with the files of an update.
type UpdateFiles string

// What FinalizeUpdateParams may ask for.
const (
	UpdateKeep       UpdateFiles = "keep"        // drop what only the proof used, move the rest to long-term storage
	UpdateReleaseKey UpdateFiles = "release-key" // drop the replica from before the update and its cache
	UpdateAbort      UpdateFiles = "abort"       // drop the new replica, its cache and the data
)
