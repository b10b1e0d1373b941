package devnet

import (
	"bytes"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/power"
	"github.com/google/uuid"

	"quarry/api"
)

// The genesis miner keeps its power over a whole proving period of warping, and
// blocks it makes pass full validation.
func TestWarpKeepsPower(t *testing.T) {
	n := newFixture(t, "one").open(t)
	h, err := n.DevnetWarp(t.Context(), 2*2880, false)
	if err != nil {
		t.Fatal(err)
	}
	if h != 2*2880 {
		t.Fatalf("stopped at %d", h)
	}
	p, err := n.StateMinerPower(t.Context(), n.params.Miner, nil)
	if err != nil || !p.MinerPower.QualityAdjPower.Equals(big.NewInt(4096)) {
		t.Fatalf("power %+v, %v", p, err)
	}
	bad, err := n.StateMinerFaults(t.Context(), n.params.Miner, nil)
	if err != nil {
		t.Fatal(err)
	}
	if empty, err := bad.IsEmpty(); err != nil || !empty {
		t.Fatalf("genesis miner has faults, %v", err)
	}
}

func TestOwnBlocksAreValid(t *testing.T) {
	n := newFixture(t, "one").open(t)
	if _, err := n.DevnetFund(t.Context(), n.params.Worker, fil(1)); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		head := n.ledger.Head()
		if err := n.genesis.attempt(t.Context(), head, n.Epoch()+1); err != nil {
			t.Fatal(err)
		}
		for _, h := range n.candidates {
			bls, secp, err := n.ledger.blockCids(t.Context(), h)
			if err != nil {
				t.Fatal(err)
			}
			if err := n.validate(t.Context(), &api.BlockMsg{Header: h, BlsMessages: bls, SecpkMessages: secp}); err != nil {
				t.Fatal(err)
			}
			bad := *h
			bad.Timestamp++
			if n.validate(t.Context(), &api.BlockMsg{Header: &bad, BlsMessages: bls, SecpkMessages: secp}) == nil {
				t.Fatal("a block with a wrong timestamp passed")
			}
		}
		if err := n.closeEpoch(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	}
}

// A node opened again on the same store goes on where it was, also when the
// first one was never closed.
func TestRestart(t *testing.T) {
	f := newFixture(t, "one")
	n := f.open(t)
	step(t, n, 5)
	id := uuid.New()
	spec := &api.MessageSendSpec{MsgUuid: id, MaxFee: big.Zero()}
	msg := &api.Message{To: n.params.Worker, From: n.params.Faucet, Value: fil(3)}
	first, err := n.MpoolPushMessage(t.Context(), msg, spec)
	if err != nil {
		t.Fatal(err)
	}
	head, epoch := n.ledger.Head(), n.Epoch()

	m := f.open(t)
	if !m.ledger.Head().Equal(head) || m.Epoch() != epoch {
		t.Fatalf("restarted at %d/%d, want %d/%d", m.ledger.Head().Height, m.Epoch(), head.Height, epoch)
	}
	again, err := m.MpoolPushMessage(t.Context(), msg, spec)
	if err != nil || again.Cid() != first.Cid() {
		t.Fatalf("the same push gave %v, %v; want %s", again, err, first.Cid())
	}
	step(t, m, 3)
	l, err := m.StateSearchMsg(t.Context(), nil, first.Cid(), -1, true)
	if err != nil || l == nil || l.Receipt.ExitCode != 0 {
		t.Fatalf("message after restart: %+v, %v", l, err)
	}
	if p, _ := m.MpoolPending(t.Context(), nil); len(p) != 0 {
		t.Fatalf("%d messages still pending", len(p))
	}
}

func TestCreateMiner(t *testing.T) {
	n := newFixture(t, "one").open(t)
	step(t, n, 2)
	worker, err := n.WalletNew(t.Context(), api.KeyBLS)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.DevnetFund(t.Context(), worker, fil(1000)); err != nil {
		t.Fatal(err)
	}
	step(t, n, 2)
	params, err := encodeParams(&power.CreateMinerParams{Owner: worker, Worker: worker, Peer: abi.PeerID{},
		WindowPoStProofType: abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1})
	if err != nil {
		t.Fatal(err)
	}
	dep, err := n.StateMinerCreationDeposit(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := n.MpoolPushMessage(t.Context(), &api.Message{
		To:     builtin.StoragePowerActorAddr,
		From:   worker,
		Value:  big.Mul(dep, big.NewInt(2)),
		Method: builtin.MethodsPower.CreateMiner,
		Params: params,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	step(t, n, 3)
	l, err := n.StateSearchMsg(t.Context(), nil, s.Cid(), -1, true)
	if err != nil || l == nil || l.Receipt.ExitCode != 0 {
		t.Fatalf("lookup %+v, %v", l, err)
	}
	var ret power.CreateMinerReturn
	if err := ret.UnmarshalCBOR(bytes.NewReader(l.Receipt.Return)); err != nil {
		t.Fatal(err)
	}
	info, err := n.StateMinerInfo(t.Context(), ret.IDAddress, nil)
	if err != nil || info.SectorSize != 2048 || info.NewWorker != address.Undef {
		t.Fatalf("info %+v, %v", info, err)
	}
	dl, err := n.StateMinerProvingDeadline(t.Context(), ret.IDAddress, nil)
	if err != nil || dl.WPoStProvingPeriod != 2880 {
		t.Fatalf("deadline %+v, %v", dl, err)
	}
	ms, err := n.StateListMiners(t.Context(), nil)
	if err != nil || len(ms) != 2 {
		t.Fatalf("miners %v, %v", ms, err)
	}
}
