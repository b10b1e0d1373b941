package sealing

import (
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"quarry/api"
)

// replicaUpdate is what the update of a sector adds to its record. The sector
// as it was sealed stays in the other fields.
type replicaUpdate struct {
	Round       int                   // counts the updates begun; part of every key
	Lead        abi.ChainEpoch        `json:",omitempty"` // a deal that starts sooner than this might miss the deadline's mutable time
	CommD       *cid.Cid              `json:",omitempty"`
	CommR       *cid.Cid              `json:",omitempty"`
	Commitments api.UpdateCommitments `json:",omitzero"`
	Proof       []byte                `json:",omitempty"` // the proof field of the message
	Sending     bool                  // a message may be on its way: nothing must be given up
	Msg         *cid.Cid              `json:",omitempty"`
	Landed      abi.ChainEpoch        // when it was seen on chain, 0 until then
}

// updateMachine are the rows of machine for a sector of zeros that takes data
// (SnapDeals, FIP-0019). What is hopeless there ends in AbortUpgrade: the sector
// itself is whole and must go on being proven.
var updateMachine = map[api.SectorState]rule{
	api.SectorAvailable: {On: map[kind]api.SectorState{
		evUpgrade: api.SectorSnapWaitDeals, evAbort: api.SectorProving}},
	api.SectorSnapWaitDeals: {effWaitDeals, waitVisit, api.SectorSnapAddPieceFailed, map[kind]api.SectorState{
		evReserved: api.SectorSnapAddPiece, evStart: api.SectorSnapPacking, evAbort: api.SectorAbortUpgrade}},
	api.SectorSnapAddPiece: {effPlace, 0, api.SectorSnapAddPieceFailed, map[kind]api.SectorState{
		evReserved: api.SectorSnapAddPiece, evPlaced: api.SectorSnapAddPiece, evDropped: api.SectorSnapAddPiece,
		evAbort: api.SectorAbortUpgrade}},
	api.SectorSnapPacking: {effPack, 0, api.SectorSnapAddPieceFailed, map[kind]api.SectorState{
		evPlanned: api.SectorSnapPacking, evPlaced: api.SectorSnapPacking, evPacked: api.SectorUpdateReplica,
		evAbort: api.SectorAbortUpgrade}},
	api.SectorUpdateReplica: {effUpdate, 0, api.SectorUpdateFailed, map[kind]api.SectorState{
		evUpdated: api.SectorProveUpdate, evAbort: api.SectorAbortUpgrade}},
	api.SectorProveUpdate: {effProveUpdate, 0, api.SectorUpdateFailed, map[kind]api.SectorState{
		evUpdateProved: api.SectorSubmitUpdate, evAbort: api.SectorAbortUpgrade}},
	api.SectorSubmitUpdate: {effSubmitUpdate, chainVisit, api.SectorUpdateFailed, map[kind]api.SectorState{
		evImmutable: api.SectorWaitMutable, evUpdateSent: api.SectorUpdateWait, evUpdateLanded: api.SectorFinalizeUpdate}},
	api.SectorWaitMutable: {effWaitMutable, waitVisit, api.SectorUpdateFailed, map[kind]api.SectorState{
		evMutable: api.SectorSubmitUpdate, evAbort: api.SectorAbortUpgrade}},
	api.SectorUpdateWait: {effUpdateWait, waitVisit, api.SectorUpdateFailed, map[kind]api.SectorState{
		evUpdateLanded: api.SectorFinalizeUpdate}},
	api.SectorFinalizeUpdate: {effKeepUpdate, 0, api.SectorFinalUpdateFailed, map[kind]api.SectorState{
		evUpdateKept: api.SectorUpdateActivating}},
	api.SectorUpdateActivating: {effUpdateActive, waitVisit, api.SectorUpdateFailed, map[kind]api.SectorState{
		evUpdateSettled: api.SectorReleaseKey}},
	api.SectorReleaseKey: {effReleaseKey, 0, api.SectorReleaseKeyFailed, map[kind]api.SectorState{
		evKeyReleased: api.SectorProving}},
	api.SectorAbortUpgrade: {effAbort, 0, api.SectorAbortUpgrade, map[kind]api.SectorState{
		evAborted: api.SectorProving, evUpdateLanded: api.SectorFinalizeUpdate}},

	api.SectorSnapAddPieceFailed: {effRetry, 0, "", map[kind]api.SectorState{evRetry: api.SectorSnapPacking,
		evAbort: api.SectorAbortUpgrade}},
	api.SectorUpdateFailed: {effRetry, 0, "", map[kind]api.SectorState{evRetry: api.SectorProveUpdate,
		evAbort: api.SectorAbortUpgrade}},
	api.SectorFinalUpdateFailed: {effRetry, 0, "", map[kind]api.SectorState{evRetry: api.SectorFinalizeUpdate}},
	api.SectorReleaseKeyFailed:  {effRetry, 0, "", map[kind]api.SectorState{evRetry: api.SectorReleaseKey}},
}

// updateTries is after how many failures of PR1 the replica is encoded afresh.
const updateTries = 3

// updateJob is a kind of work of this round of the update.
func (r *record) updateJob(kind jobKind) job {
	if r.Update == nil {
		return job{kind: kind}
	}
	return job{kind: kind, round: r.Update.Round}
}

// encodeAgain tells whether a failed update must go back to the encoding: it
// failed itself, what it made cannot be proved, or the chain took the update
// back when what only proofs need was gone.
func (r *record) encodeAgain() bool {
	switch r.FailedFrom {
	case api.SectorUpdateReplica, api.SectorUpdateActivating:
		return true
	case api.SectorProveUpdate:
		return r.Attempts[r.updateJob(jobPR1)] > updateTries
	}
	return false
}

// bumpUpdate makes earlier work new when later work keeps failing, and notes
// that a message that failed is not on its way any more.
func (r *record) bumpUpdate(j job) {
	if r.Update == nil {
		return
	}
	n := r.Attempts[j]
	switch j {
	case r.updateJob(jobSendUpdate):
		r.Update.Sending = false
		if n > 1 {
			r.Attempts[r.updateJob(jobPR1)]++ // the chain refused this proof twice
		}
	case r.updateJob(jobPR2):
		if n%c2Tries == 0 {
			r.Attempts[r.updateJob(jobPR1)]++
		}
	}
}

// takeUpdate is take for the events of an update.
func (r *record) takeUpdate(e event) {
	if r.Update == nil && e.Kind != evMarked && e.Kind != evUpgrade && e.Kind != evAborted {
		return
	}
	switch e.Kind {
	case evMarked:
		r.Expiration = e.Expiration
	case evUpgrade:
		r.Rounds++
		r.Update = &replicaUpdate{Round: r.Rounds, Lead: e.Epoch}
		r.StartRequested = false
	case evUpdated:
		r.Update.CommD, r.Update.CommR, r.Update.Commitments = e.CommD, e.CommR, e.UpdateOut
	case evUpdateProved:
		r.Update.Proof = e.Proof
	case evUpdateSent:
		r.Update.Msg = e.Msg
	case evUpdateLanded:
		r.Update.Landed = e.Epoch
		r.takeBack()
	case evKeyReleased:
		r.Update.Commitments, r.Update.Sending = api.UpdateCommitments{}, false
	case evAborted:
		r.Update, r.Pieces, r.StartRequested = nil, nil, false
	}
}
