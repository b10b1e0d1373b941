package sealing

import (
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/proofs/commp"
)

// TestUpdateTransitions is the road of an update, good and bad.
func TestUpdateTransitions(t *testing.T) {
	full := []piece{{Key: "a", Info: abi.PieceInfo{Size: testSize, PieceCID: commp.ZeroPiece(testSize)}}}
	up := func(st api.SectorState) record {
		return record{State: st, CC: true, Update: &replicaUpdate{Round: 1}}
	}
	failedFrom := func(from api.SectorState, attempts map[job]int) record {
		r := up(api.SectorUpdateFailed)
		r.FailedFrom, r.Attempts = from, attempts
		return r
	}
	for _, row := range []struct {
		name string
		from record
		ev   event
		to   api.SectorState
		eff  effect
	}{
		{"marked", record{State: api.SectorProving, CC: true}, event{Kind: evMarked}, api.SectorAvailable, effNone},
		{"mark taken away", record{State: api.SectorAvailable, CC: true}, event{Kind: evAbort}, api.SectorProving, effNone},
		{"begins", record{State: api.SectorAvailable, CC: true}, event{Kind: evUpgrade}, api.SectorSnapWaitDeals, effWaitDeals},
		{"first piece", up(api.SectorSnapWaitDeals), event{Kind: evReserved, Pieces: full}, api.SectorSnapAddPiece, effPlace},
		{"last one placed", func() record { r := up(api.SectorSnapAddPiece); r.Pieces = full; return r }(), event{Kind: evPlaced},
			api.SectorSnapWaitDeals, effWaitDeals},
		{"pack", up(api.SectorSnapWaitDeals), event{Kind: evStart}, api.SectorSnapPacking, effPack},
		{"filler planned", up(api.SectorSnapPacking), event{Kind: evPlanned, Pieces: full}, api.SectorSnapPacking, effPack},
		{"packed", up(api.SectorSnapPacking), event{Kind: evPacked}, api.SectorUpdateReplica, effUpdate},
		{"encoded", up(api.SectorUpdateReplica), event{Kind: evUpdated}, api.SectorProveUpdate, effProveUpdate},
		{"proved", up(api.SectorProveUpdate), event{Kind: evUpdateProved}, api.SectorSubmitUpdate, effSubmitUpdate},
		{"not now", up(api.SectorSubmitUpdate), event{Kind: evImmutable}, api.SectorWaitMutable, effWaitMutable},
		{"now", up(api.SectorWaitMutable), event{Kind: evMutable}, api.SectorSubmitUpdate, effSubmitUpdate},
		{"sent", up(api.SectorSubmitUpdate), event{Kind: evUpdateSent}, api.SectorUpdateWait, effUpdateWait},
		{"there before sending", up(api.SectorSubmitUpdate), event{Kind: evUpdateLanded}, api.SectorFinalizeUpdate, effKeepUpdate},
		{"landed", up(api.SectorUpdateWait), event{Kind: evUpdateLanded}, api.SectorFinalizeUpdate, effKeepUpdate},
		{"kept", up(api.SectorFinalizeUpdate), event{Kind: evUpdateKept}, api.SectorUpdateActivating, effUpdateActive},
		{"settled", up(api.SectorUpdateActivating), event{Kind: evUpdateSettled}, api.SectorReleaseKey, effReleaseKey},
		{"released", up(api.SectorReleaseKey), event{Kind: evKeyReleased}, api.SectorProving, effNone},

		{"AP fails", up(api.SectorSnapAddPiece), event{Kind: evFailed}, api.SectorSnapAddPieceFailed, effRetry},
		{"RU fails", up(api.SectorUpdateReplica), event{Kind: evFailed}, api.SectorUpdateFailed, effRetry},
		{"taken back", up(api.SectorUpdateActivating), event{Kind: evFailed}, api.SectorUpdateFailed, effRetry},
		{"FRU fails", up(api.SectorFinalizeUpdate), event{Kind: evFailed}, api.SectorFinalUpdateFailed, effRetry},
		{"release fails", up(api.SectorReleaseKey), event{Kind: evFailed}, api.SectorReleaseKeyFailed, effRetry},
		{"abort fails", up(api.SectorAbortUpgrade), event{Kind: evFailed}, api.SectorAbortUpgrade, effAbort},
		{"hopeless", up(api.SectorSubmitUpdate), event{Kind: evFatal}, api.SectorAbortUpgrade, effAbort},
		{"aborted", up(api.SectorAbortUpgrade), event{Kind: evAborted}, api.SectorProving, effNone},
		{"landed after all", up(api.SectorAbortUpgrade), event{Kind: evUpdateLanded}, api.SectorFinalizeUpdate, effKeepUpdate},

		{"AP again", func() record {
			r := up(api.SectorSnapAddPieceFailed)
			r.FailedFrom, r.Pieces = api.SectorSnapAddPiece, full
			return r
		}(), event{Kind: evRetry}, api.SectorSnapAddPiece, effPlace},
		{"packing again", func() record { r := up(api.SectorSnapAddPieceFailed); r.FailedFrom = api.SectorSnapPacking; return r }(),
			event{Kind: evRetry}, api.SectorSnapPacking, effPack},
		{"RU again", failedFrom(api.SectorUpdateReplica, nil), event{Kind: evRetry}, api.SectorUpdateReplica, effUpdate},
		{"PR1 again", failedFrom(api.SectorProveUpdate, map[job]int{{kind: jobPR1, round: 1}: 3}), event{Kind: evRetry},
			api.SectorProveUpdate, effProveUpdate},
		{"PR1 too often", failedFrom(api.SectorProveUpdate, map[job]int{{kind: jobPR1, round: 1}: 4}), event{Kind: evRetry},
			api.SectorUpdateReplica, effUpdate},
		{"PR1 too often in another round", failedFrom(api.SectorProveUpdate, map[job]int{{kind: jobPR1, round: 2}: 4}),
			event{Kind: evRetry}, api.SectorProveUpdate, effProveUpdate},
		{"message again", failedFrom(api.SectorUpdateWait, nil), event{Kind: evRetry}, api.SectorProveUpdate, effProveUpdate},
		{"after a reorganisation", failedFrom(api.SectorUpdateActivating, nil), event{Kind: evRetry}, api.SectorUpdateReplica, effUpdate},
		{"keep again", up(api.SectorFinalUpdateFailed), event{Kind: evRetry}, api.SectorFinalizeUpdate, effKeepUpdate},
		{"release again", up(api.SectorReleaseKeyFailed), event{Kind: evRetry}, api.SectorReleaseKey, effReleaseKey},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, eff, err := apply(row.from, row.ev)
			if err != nil || got.State != row.to || eff != row.eff {
				t.Errorf("%s + %s = %s, effect %d (%v); want %s, effect %d", row.from.State, row.ev.Kind, got.State, eff, err,
					row.to, row.eff)
			}
		})
	}
}

// TestMessagesOnTheirWayForbidTheEnd: from sending to landing there is no way
// to give an update up.
func TestMessagesOnTheirWayForbidTheEnd(t *testing.T) {
	for _, st := range []api.SectorState{api.SectorSubmitUpdate, api.SectorUpdateWait, api.SectorFinalizeUpdate, api.SectorUpdateActivating,
		api.SectorReleaseKey, api.SectorFinalUpdateFailed, api.SectorReleaseKeyFailed, api.SectorProving} {
		if to, ok := next(record{State: st}, evAbort); ok {
			t.Errorf("%s may be aborted to %s", st, to)
		}
	}
}

func TestUpdateIsClonedWithItsRecord(t *testing.T) {
	r := record{State: api.SectorUpdateReplica, Update: &replicaUpdate{Round: 1}, Attempts: map[job]int{{kind: jobSendUpdate, round: 1}: 1}}
	got, _, err := apply(r, event{Kind: evUpdated, UpdateOut: api.UpdateCommitments{RawMessage: []byte(`1`)}})
	if err != nil || r.Update.Commitments.RawMessage != nil || got.Update.Commitments.RawMessage == nil {
		t.Errorf("before %+v, after %+v (%v)", r.Update, got.Update, err)
	}
	r = record{State: api.SectorUpdateWait, Update: &replicaUpdate{Round: 1, Sending: true},
		Attempts: map[job]int{{kind: jobSendUpdate, round: 1}: 1}}
	got, _, err = apply(r, event{Kind: evFailed, Job: job{kind: jobSendUpdate, round: 1}})
	if err != nil || !r.Update.Sending || got.Update.Sending || got.Attempts[job{kind: jobPR1, round: 1}] != 1 ||
		r.Attempts[job{kind: jobPR1, round: 1}] != 0 {
		t.Errorf("before %+v, after %+v (%v)", r, got, err)
	}
}
