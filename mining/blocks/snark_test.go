package blocks

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

// script is a Snark whose proof names everything it was made from. It fails as
// often as it is told to.
type script struct {
	mu    sync.Mutex
	fails int
	calls int
}

func (s *script) Winning(_ context.Context, info proof.WinningPoStVerifyInfo, vanilla []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.fails > 0 {
		s.fails--
		return nil, errors.New("no parameters")
	}
	return scripted(info, vanilla), nil
}

func scripted(info proof.WinningPoStVerifyInfo, vanilla []byte) []byte {
	return fmt.Appendf(nil, "groth16 t0%d %v %x %v of %s", info.Prover, info.Proofs, []byte(info.Randomness),
		info.ChallengedSectors, vanilla)
}

// The block bears the Groth16 proof of what the prover gave, about the sectors
// and randomness that were drawn, and no vanilla proof goes to the node.
func TestSnarkProofGoesIntoTheBlock(t *testing.T) {
	n := newNet(t)
	n.snark = &script{}
	n.scene(t, devnet, func(p *Producer) {
		if len(n.submitted) != 1 || p.Status().LastErr != "" {
			t.Fatalf("%d blocks, %+v", len(n.submitted), p.Status())
		}
		got := n.submitted[0].Header.WinPoStProof
		want := proof.WinningPoStVerifyInfo{
			Randomness: n.asked.Randomness, Prover: 1000,
			Proofs: []proof.PoStProof{{PoStProof: abi.RegisteredPoStProof_StackedDrgWinning8MiBV1}},
			ChallengedSectors: []proof.SectorInfo{{SealProof: abi.RegisteredSealProof_StackedDrg8MiBV1_1,
				SectorNumber: 7, SealedCID: sum("sealed")}},
		}
		vanilla := fmt.Appendf(nil, "proof %x", []byte(n.asked.Randomness))
		if len(got) != 1 || got[0].PoStProof != want.Proofs[0].PoStProof || !bytes.Equal(got[0].ProofBytes, scripted(want, vanilla)) {
			t.Errorf("the block has %v (%s)", got, got[0].ProofBytes)
		}
		if len(n.blobs) != 0 {
			t.Errorf("%d objects were put on the node", len(n.blobs))
		}
	})
}

// A Groth16 proof that cannot be made is reported, no block leaves, nothing
// vanilla is sent in its place, and the next epoch is tried.
func TestSnarkFails(t *testing.T) {
	n := newNet(t)
	s := &script{fails: 1}
	n.snark = s
	n.scene(t, devnet, func(p *Producer) {
		if st := p.Status(); len(n.submitted) != 0 || !strings.Contains(st.LastErr, "groth16 winning PoSt over sector 7: no parameters") {
			t.Fatalf("%d blocks, last error %q", len(n.submitted), st.LastErr)
		}
		n.pass(2 * pace)
		if st := p.Status(); len(n.submitted) != 1 || st.LastErr != "" || s.calls != 2 {
			t.Errorf("%d blocks after %d calls, last error %q", len(n.submitted), s.calls, st.LastErr)
		}
		if len(n.blobs) != 0 {
			t.Errorf("%d objects were put on the node", len(n.blobs))
		}
	})
}

// A node that is away for many epochs is one warning; that it is back is told.
func TestOutageIsOneWarning(t *testing.T) {
	n := newNet(t)
	var log bytes.Buffer // written by Run alone; read when it rests
	n.log = slog.New(slog.NewTextHandler(&log, nil))
	n.failures["info"] = &api.ErrUnreachable{Peer: "node", Reason: "connection refused"}
	cfg := devnet
	cfg.MaxNulls = 1000
	n.scene(t, cfg, func(p *Producer) {
		n.pass(50 * pace)
		if tried := len(n.tried); tried < 50 {
			t.Errorf("tried only %d epochs", tried)
		}
		if lines := strings.Count(log.String(), "level=WARN"); lines != 1 {
			t.Errorf("%d warnings about one outage:\n%.2000s", lines, log.String())
		}
		if !strings.Contains(p.Status().LastErr, "connection refused") {
			t.Errorf("the status says %q", p.Status().LastErr)
		}
		n.mu.Lock()
		n.failures = map[string]error{}
		n.mu.Unlock()
		n.pass(2 * pace)
		if len(n.submitted) == 0 || strings.Count(log.String(), "answers again") != 1 {
			t.Errorf("%d blocks; the log:\n%.2000s", len(n.submitted), log.String())
		}
		n.mu.Lock()
		n.failures["sign"] = errors.New("locked")
		n.mu.Unlock()
		n.grow(100, false)
		synctest.Wait()
		n.pass(time.Duration(3) * pace)
		if lines := strings.Count(log.String(), "locked"); lines < 2 {
			t.Errorf("%d lines about what is not an outage", lines)
		}
	})
}
