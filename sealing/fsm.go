package sealing

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"quarry/api"
)

// kind names what happened to a sector.
type kind string

const (
	evReserved        kind = "reserved"          // pieces were added to the plan
	evPlaced          kind = "placed"            // one piece is in the unsealed file
	evDropped         kind = "dropped"           // one piece can never be placed
	evStart           kind = "start-packing"     // no more pieces
	evPlanned         kind = "filler-planned"    // the rest of the sector is filler
	evPacked          kind = "packed"            // the data is complete
	evTicket          kind = "ticket"            //
	evTicketExpired   kind = "ticket-expired"    // seal again with a new one
	evPC1             kind = "pre-commit-1"      //
	evPC2             kind = "pre-commit-2"      //
	evPreCommitSent   kind = "pre-commit-sent"   //
	evPreCommitLanded kind = "pre-commit-landed" // it is on chain
	evSeed            kind = "seed"              //
	evProved          kind = "proved"            //
	evCommitSent      kind = "commit-sent"       //
	evActive          kind = "active"            // the sector is on chain
	evFinalized       kind = "finalized"         //
	evFinalizedFree   kind = "finalized-free"    // and it may take deals later

	evMarked        kind = "marked-for-update"
	evUpgrade       kind = "update-begins"    // deals come
	evUpdated       kind = "replica-updated"  // the data is in
	evUpdateProved  kind = "update-proved"    //
	evImmutable     kind = "deadline-fixed"   // the chain takes no update of this sector now
	evMutable       kind = "deadline-mutable" //
	evUpdateSent    kind = "update-sent"      //
	evUpdateLanded  kind = "update-landed"    // it is on chain
	evUpdateKept    kind = "update-kept"      // its files are where they stay
	evUpdateSettled kind = "update-settled"   // nobody asks for the old replica any more
	evKeyReleased   kind = "key-released"     // which has been dropped
	evAbort         kind = "abort"            //
	evAborted       kind = "aborted"          //

	evLost    kind = "files-lost" // seal again with the same ticket
	evFailed  kind = "failed"     // the step failed: back off, then retry
	evStuck   kind = "waiting"    // nothing failed, something cannot be reached
	evRetry   kind = "retry"      //
	evFatal   kind = "fatal"      // no retry can help
	evRemove  kind = "remove"     //
	evRemoved kind = "removed"    //
)

// event is one happening with what it brings.
type event struct {
	Kind   kind
	Now    time.Time
	Reason string // for the log, LastErr of failures

	Pieces      []piece // evReserved, evPlanned
	Epoch       abi.ChainEpoch
	Seq         uint64 // evPlaced, evDropped
	Filler      cid.Cid
	Random      []byte // ticket or seed
	PC1Out      api.PreCommit1Out
	CommD       *cid.Cid
	CommR       *cid.Cid
	Commitments api.SealCommitments   // evPC2
	UpdateOut   api.UpdateCommitments // evUpdated
	Msg         *cid.Cid
	Expiration  abi.ChainEpoch
	Proof       []byte
	Index       uint64        // evCommitSent: place within the message
	Job         job           // whose next try needs a new key
	Failure     *api.Failure  // evDropped: why
	Backoff     time.Duration // until the next try
}

// effect is the work a state stands for; the driver carries it out.
type effect int

const (
	effNone effect = iota
	effWaitDeals
	effPlace
	effPack
	effTicket
	effPC1
	effPC2
	effPreCommit
	effPreCommitWait
	effSeed
	effProve
	effCommit
	effCommitWait
	effFinalize
	effUpdate
	effProveUpdate
	effSubmitUpdate
	effWaitMutable
	effUpdateWait
	effKeepUpdate
	effUpdateActive
	effReleaseKey
	effAbort
	effRetry
	effRemove
)

// rule is a row of the machine: what a state does, how long one visit of its
// work may take before it is looked at afresh (0 = as long as the task lives,
// whose worker leases bound it), where a failure leads and where events lead.
type rule struct {
	Effect  effect
	Timeout time.Duration
	Failed  api.SectorState
	On      map[kind]api.SectorState
}

const chainVisit = 2 * time.Minute // plain queries and a push
const waitVisit = time.Hour        // waiting for the chain to move

var machine = map[api.SectorState]rule{
	api.SectorWaitDeals: {effWaitDeals, waitVisit, api.SectorAddPieceFailed, map[kind]api.SectorState{
		evReserved: api.SectorAddPiece, evStart: api.SectorPacking}},
	api.SectorAddPiece: {effPlace, 0, api.SectorAddPieceFailed, map[kind]api.SectorState{
		evReserved: api.SectorAddPiece, evPlaced: api.SectorAddPiece, evDropped: api.SectorAddPiece}},
	api.SectorPacking: {effPack, 0, api.SectorAddPieceFailed, map[kind]api.SectorState{
		evPlanned: api.SectorPacking, evPlaced: api.SectorPacking, evPacked: api.SectorGetTicket}},
	api.SectorGetTicket: {effTicket, chainVisit, api.SectorSealFailed, map[kind]api.SectorState{
		evTicket: api.SectorPreCommit1}},
	api.SectorPreCommit1: {effPC1, 0, api.SectorSealFailed, map[kind]api.SectorState{
		evPC1: api.SectorPreCommit2, evTicketExpired: api.SectorGetTicket}},
	api.SectorPreCommit2: {effPC2, 0, api.SectorSeal2Failed, map[kind]api.SectorState{
		evPC2: api.SectorPreCommitting, evLost: api.SectorPreCommit1}},
	api.SectorPreCommitting: {effPreCommit, chainVisit, api.SectorPreCommitFailed, map[kind]api.SectorState{
		evPreCommitSent: api.SectorPreCommitWait, evPreCommitLanded: api.SectorWaitSeed,
		evTicketExpired: api.SectorGetTicket, evActive: api.SectorFinalizeSector}},
	api.SectorPreCommitWait: {effPreCommitWait, waitVisit, api.SectorPreCommitFailed, map[kind]api.SectorState{
		evPreCommitLanded: api.SectorWaitSeed}},
	api.SectorWaitSeed: {effSeed, waitVisit, api.SectorPreCommitFailed, map[kind]api.SectorState{
		evSeed: api.SectorCommitting, evActive: api.SectorFinalizeSector}},
	api.SectorCommitting: {effProve, 0, api.SectorComputeFailed, map[kind]api.SectorState{
		evProved: api.SectorSubmitCommit, evLost: api.SectorPreCommit1}},
	api.SectorSubmitCommit: {effCommit, chainVisit, api.SectorCommitFailed, map[kind]api.SectorState{
		evCommitSent: api.SectorCommitWait, evActive: api.SectorFinalizeSector}},
	api.SectorCommitWait: {effCommitWait, waitVisit, api.SectorCommitFailed, map[kind]api.SectorState{
		evActive: api.SectorFinalizeSector}},
	api.SectorFinalizeSector: {effFinalize, 0, api.SectorFinalizeFailed, map[kind]api.SectorState{
		evFinalized: api.SectorProving, evFinalizedFree: api.SectorAvailable}},

	api.SectorProving:       {On: map[kind]api.SectorState{evMarked: api.SectorAvailable}},
	api.SectorFailedForGood: {},
	api.SectorRemoved:       {},
	api.SectorRemoving: {effRemove, 0, api.SectorRemoving, map[kind]api.SectorState{
		evRemoved: api.SectorRemoved, evActive: api.SectorFinalizeSector}},

	// Failed states do one thing: try again when the back-off is over. Where
	// evRetry leads is refined by retryState.
	api.SectorAddPieceFailed:  {effRetry, 0, "", map[kind]api.SectorState{evRetry: api.SectorPacking}},
	api.SectorSealFailed:      {effRetry, 0, "", map[kind]api.SectorState{evRetry: api.SectorPreCommit1}},
	api.SectorSeal2Failed:     {effRetry, 0, "", map[kind]api.SectorState{evRetry: api.SectorPreCommit2}},
	api.SectorPreCommitFailed: {effRetry, 0, "", map[kind]api.SectorState{evRetry: api.SectorPreCommitting}},
	api.SectorComputeFailed:   {effRetry, 0, "", map[kind]api.SectorState{evRetry: api.SectorCommitting}},
	api.SectorCommitFailed:    {effRetry, 0, "", map[kind]api.SectorState{evRetry: api.SectorWaitSeed}},
	api.SectorFinalizeFailed:  {effRetry, 0, "", map[kind]api.SectorState{evRetry: api.SectorFinalizeSector}},
}

func init() {
	maps.Copy(machine, updateMachine)
}

// pc2Tries is after how many failures of PC2 its input is computed afresh, as
// in Lotus storage/pipeline/states_failed.go.
const pc2Tries = 3

// c2Tries is after how many failures of C2 its input is computed afresh.
const c2Tries = 3

// next is the state that k leads to from r, and whether k is allowed there.
func next(r record, k kind) (api.SectorState, bool) {
	row, ok := machine[r.State]
	if !ok {
		return "", false
	}
	final := r.State == api.SectorRemoved
	switch k {
	case evFailed:
		return row.Failed, row.Failed != ""
	case evStuck:
		return r.State, row.Effect != effNone
	case evFatal:
		if _, ok := updateMachine[r.State]; ok { // the sector as it was before is as good as ever
			return api.SectorAbortUpgrade, !final
		}
		return api.SectorFailedForGood, !final && r.State != api.SectorRemoving
	case evRemove:
		return api.SectorRemoving, !final
	case evRetry:
		return retryState(r, row)
	}
	to, ok := row.On[k]
	return to, ok
}

func retryState(r record, row rule) (api.SectorState, bool) {
	to, ok := row.On[evRetry]
	switch {
	case r.State == api.SectorAddPieceFailed && r.FailedFrom != api.SectorPacking:
		to = api.SectorAddPiece
	case r.State == api.SectorSealFailed && len(r.Ticket) == 0:
		to = api.SectorGetTicket
	case r.State == api.SectorSeal2Failed && r.Attempts[job{kind: jobPC2}] > pc2Tries:
		to = api.SectorPreCommit1
	case r.State == api.SectorSnapAddPieceFailed && r.FailedFrom != api.SectorSnapPacking:
		to = api.SectorSnapAddPiece
	case r.State == api.SectorUpdateFailed && r.encodeAgain():
		to = api.SectorUpdateReplica
	}
	return to, ok
}

// apply is the whole machine: the record after e and the work its new state
// stands for. It touches nothing outside its arguments.
func apply(r record, e event) (record, effect, error) {
	to, ok := next(r, e.Kind)
	if !ok {
		return r, effNone, fmt.Errorf("sector %d in state %s: event %q is not possible", r.Number, r.State, e.Kind)
	}
	r = r.clone()
	from := r.State
	r.State = to
	r.Updated = e.Now
	r.take(e, from)
	if r.unplaced() < 0 {
		switch r.State {
		case api.SectorAddPiece:
			r.State = api.SectorWaitDeals
		case api.SectorSnapAddPiece:
			r.State = api.SectorSnapWaitDeals
		}
	}
	if e.Kind != evStuck || r.Retries <= 1 {
		r.note(e.Now, describe(from, e))
	}
	return r, machine[r.State].Effect, nil
}

func describe(from api.SectorState, e event) string {
	s := fmt.Sprintf("%s: %s", from, e.Kind)
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	return s
}

// take moves what e brings into the record.
func (r *record) take(e event, from api.SectorState) {
	if r.takeTrouble(e, from) {
		return // the last error stays visible until something succeeds
	}
	switch e.Kind {
	case evReserved, evPlanned:
		if e.Kind == evReserved && r.deals() == 0 {
			r.FirstPiece = e.Epoch
		}
		r.Pieces = append(r.Pieces, e.Pieces...)
		r.NextSeq += uint64(len(e.Pieces))
		return
	case evPlaced:
		r.place(e.Seq)
	case evDropped:
		r.drop(e)
	case evAbort, evRemove:
		r.giveUp(e)
	case evActive:
		r.takeBack()
	case evTicket, evTicketExpired:
		r.PreCommitEpoch = 0 // another replica comes, of which the chain has nothing
		r.TicketEpoch, r.Ticket = e.Epoch, e.Random
		r.PC1Out, r.Commitments = api.PreCommit1Out{}, api.SealCommitments{}
		r.CommD, r.CommR = nil, nil
	case evPC1:
		r.PC1Out = e.PC1Out
	case evPC2:
		r.CommD, r.CommR, r.Commitments = e.CommD, e.CommR, e.Commitments
	case evPreCommitSent:
		r.PreCommitMsg, r.Expiration = e.Msg, e.Expiration
	case evPreCommitLanded:
		r.PreCommitEpoch, r.Expiration, r.Alone = e.Epoch, e.Expiration, false
	case evSeed:
		r.SeedEpoch, r.Seed = e.Epoch, e.Random
	case evProved:
		r.Proof = e.Proof
	case evCommitSent:
		r.CommitMsg, r.CommitIndex = e.Msg, e.Index
	default:
		r.takeUpdate(e)
	}
	r.succeed(e.Kind)
}

// takeTrouble takes what is no step ahead; false for what is.
func (r *record) takeTrouble(e event, from api.SectorState) bool {
	switch e.Kind {
	case evFailed, evStuck:
		r.Retries++
		r.LastErr, r.NextRetry = e.Reason, e.Now.Add(e.Backoff)
		if e.Kind == evFailed {
			r.FailedFrom = from
			r.bump(e.Job)
			r.Alone = r.Alone && e.Job == (job{})
		}
	case evFatal:
		r.LastErr, r.NextRetry = e.Reason, time.Time{}
		r.giveUp(e)
	case evRetry:
		r.NextRetry = time.Time{}
		if from == api.SectorSeal2Failed && r.State == api.SectorPreCommit1 {
			r.bump(job{kind: jobPC1})
		}
		if from == api.SectorUpdateFailed && r.State == api.SectorUpdateReplica && r.FailedFrom != api.SectorUpdateReplica {
			r.bump(r.updateJob(jobUpdate))
		}
	case evLost:
		r.lose(e)
	default:
		return false
	}
	return true
}

// succeed clears the visible error; the back-off is only forgotten where real
// ground was gained, so that a loop of send and fail keeps slowing down.
func (r *record) succeed(k kind) {
	r.LastErr, r.NextRetry, r.TaskID = "", time.Time{}, nil
	r.Missing = time.Time{}
	if slices.Contains([]kind{evPlaced, evPacked, evPC2, evPreCommitLanded, evActive, evFinalized, evFinalizedFree,
		evUpdated, evUpdateLanded, evUpdateKept, evKeyReleased, evAborted}, k) {
		r.Retries = 0
	}
}

func (r *record) bump(j job) {
	if j == (job{}) {
		return
	}
	if r.Attempts == nil {
		r.Attempts = map[job]int{}
	}
	r.Attempts[j]++
	if j.kind == jobCommit && r.Attempts[j] > 1 {
		r.Attempts[job{kind: jobC1}]++ // the chain refused this proof twice: make another
	}
	if j.kind == jobC2 && r.Attempts[j]%c2Tries == 0 {
		r.Attempts[job{kind: jobC1}]++ // perhaps it is what the proof is made of
	}
	r.bumpUpdate(j)
}

func (r *record) place(seq uint64) {
	for i := range r.Pieces {
		if r.Pieces[i].Seq == seq {
			r.Pieces[i].Placed = true
			r.Pieces[i].Data = api.DataRef{}
		}
	}
}

// drop takes a piece that cannot be placed out of the plan: at the end it is
// cut off together with the filler before it, elsewhere it becomes filler of
// the same size, so that what follows stays where its owner was told.
func (r *record) drop(e event) {
	i := slices.IndexFunc(r.Pieces, func(p piece) bool { return p.Seq == e.Seq })
	if i < 0 {
		return
	}
	if i < len(r.Pieces)-1 {
		old := r.Pieces[i]
		r.Pieces[i] = piece{Seq: r.NextSeq, Offset: old.Offset,
			Info: abi.PieceInfo{Size: old.Info.Size, PieceCID: e.Filler}}
		r.NextSeq++
		return
	}
	for i > 0 && r.Pieces[i-1].filler() {
		i--
	}
	r.Pieces = r.Pieces[:i]
}
