package window

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/api"
)

// script is a Snark that checks that the statement fits the vanilla proof it is
// given, and fails as often as it is told to.
type script struct {
	mu    sync.Mutex
	fails int
	calls int
	odd   string // what did not fit
}

func (s *script) Window(_ context.Context, info proof.WindowPoStVerifyInfo, vanilla []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	var list []uint64
	for _, sector := range info.ChallengedSectors {
		list = append(list, uint64(sector.SectorNumber))
		if !sector.SealedCID.Equals(sum(fmt.Sprint("sealed", sector.SectorNumber))) {
			s.odd = fmt.Sprintf("sector %d with SealedCID %s", sector.SectorNumber, sector.SealedCID)
		}
	}
	if !bytes.Equal(vanilla, simProof(info.Randomness, list)) || info.Prover != 1000 || len(info.Proofs) != 1 {
		s.odd = fmt.Sprintf("%+v with the vanilla proof %s", info, vanilla)
	}
	if s.fails > 0 {
		s.fails--
		return nil, errors.New("no parameters")
	}
	return simSnark(info.Proofs[0].PoStProof, vanilla), nil
}

func simSnark(kind abi.RegisteredPoStProof, vanilla []byte) []byte {
	return fmt.Appendf(nil, "groth16 of type %d of %s", kind, vanilla)
}

// The message bears the Groth16 proof over what the chain will check, with
// substitutes and skipped sectors, and no vanilla proof goes to the node. One
// that cannot be made is reported and made again while the deadline is open.
func TestSnarkProofGoesIntoTheMessage(t *testing.T) {
	for name, fails := range map[string]int{"at once": 0, "at the fourth try": 3} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t)
				snark := &script{fails: fails}
				var log bytes.Buffer // written by the one strand; read when it has ended
				s.snark, s.log = snark, slog.New(slog.NewTextHandler(&log, nil))
				s.partition(2, []uint64{0, 1, 2, 3}, []uint64{0}, []uint64{2}, nil)
				p := s.start(t, memory())
				s.tick(12) // too late to declare faults
				s.broken[3] = api.FaultMissing
				for range 3 * simWindow {
					s.tick(1)
					time.Sleep(2 * time.Second) // lets pauses pass
				}
				p.stop()
				if s.accepted != 1 || len(s.rejected) != 0 || snark.calls != fails+1 || snark.odd != "" {
					t.Errorf("accepted %d, rejected %v, %d calls, %s", s.accepted, s.rejected, snark.calls, snark.odd)
				}
				if len(s.blobs) != 0 {
					t.Errorf("%d objects were put on the node", len(s.blobs))
				}
				if told := strings.Count(log.String(), "groth16 proof over 4 sectors: no parameters"); told != fails {
					t.Errorf("%d of %d failures are in the log:\n%s", told, fails, log.String())
				}
				s.expect(t, p, 1, 0)
			})
		})
	}
}

// When no Groth16 proof can be made until the deadline closes, that is what the
// record says, and nothing else was sent.
func TestSnarkNeverMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.snark = &script{fails: 1 << 30}
		s.partition(2, []uint64{0, 1}, nil, nil, nil)
		p := s.start(t, memory())
		for range 4 * simWindow {
			s.tick(1)
			time.Sleep(2 * time.Second)
		}
		p.stop()
		s.expect(t, p, 0, 1)
		if rec := p.Status().Recent[0]; !strings.Contains(rec.Error, "no parameters") || rec.Message != nil {
			t.Errorf("record %+v", rec)
		}
		if len(s.keys) != 0 || len(s.blobs) != 0 {
			t.Errorf("%d messages, %d objects on the node", len(s.keys), len(s.blobs))
		}
	})
}

// A node that refuses connections while a message should go out is one warning.
func TestOutageIsOneWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		var log bytes.Buffer // written by the one strand; read when it has ended
		s.log = slog.New(slog.NewTextHandler(&log, nil))
		s.failSends, s.sendError = 60, &api.ErrUnreachable{Peer: "node", Reason: "connection refused"}
		s.partition(2, []uint64{0, 1}, nil, nil, nil)
		p := s.start(t, memory())
		s.tick(23)                   // the message should go out at 22
		time.Sleep(10 * time.Minute) // no heads: the node is away
		s.tick(simWindow)
		p.stop()
		if lines := strings.Count(log.String(), "sending, will repeat"); s.failSends != 0 || lines == 0 || lines > 2 {
			t.Errorf("%d warnings about one outage, %d failures left:\n%.2000s", lines, s.failSends, log.String())
		}
		s.expect(t, p, 1, 0)
	})
}
