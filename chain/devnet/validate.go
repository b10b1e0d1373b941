package devnet

import (
	"bytes"
	"context"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/api"
	"quarry/internal/filcrypto"
)

// winningVerifier checks the proof in a header.
type winningVerifier interface {
	Winning(ctx context.Context, info proof.WinningPoStVerifyInfo) (bool, error)
}

// refuse makes the error for a block that breaks a rule.
func refuse(h *api.BlockHeader, format string, args ...any) error {
	return &api.ErrInvalid{What: fmt.Sprintf("block of %s at epoch %d", h.Miner, h.Height), Reason: fmt.Sprintf(format, args...)}
}

// validate applies the rules of lotus chain/consensus/filcns/filecoin.go to a
// block whose parents are known. Order: cheap before dear.
func (n *Node) validate(ctx context.Context, bm *api.BlockMsg) error {
	h := bm.Header
	if h == nil || h.Ticket == nil || h.ElectionProof == nil || h.BlockSig == nil || h.BLSAggregate == nil {
		return &api.ErrInvalid{What: "block", Reason: "header, ticket, election proof or signature is missing"}
	}
	if h.ParentWeight.Int == nil || h.ParentBaseFee.Int == nil {
		return refuse(h, "it lacks the parents' weight or base fee")
	}
	if len(h.Parents) == 0 { // an empty key would mean the head
		return refuse(h, "it names no parents")
	}
	if h.Miner.Protocol() != address.ID {
		return refuse(h, "miner is not an ID address")
	}
	base, err := n.ledger.tipset(ctx, h.Parents)
	if err != nil {
		return refuse(h, "unknown parents: %v", err)
	}
	if h.Height <= base.Height {
		return refuse(h, "height is not above its parent's %d", base.Height)
	}
	if want := base.MinTimestamp() + uint64(h.Height-base.Height); h.Timestamp != want {
		return refuse(h, "timestamp is %d, must be %d", h.Timestamp, want)
	}
	if err := n.validateLinks(ctx, h, base); err != nil {
		return err
	}
	if err := n.validateElection(ctx, h, base); err != nil {
		return err
	}
	return n.validateMessages(ctx, bm, base)
}

// validateLinks checks what a block says about its parents.
func (n *Node) validateLinks(ctx context.Context, h *api.BlockHeader, base *api.TipSet) error {
	o, err := n.exec.after(ctx, base)
	if err != nil {
		return err
	}
	if h.ParentStateRoot != o.State {
		return refuse(h, "parent state root is %s, must be %s", h.ParentStateRoot, o.State)
	}
	if h.ParentMessageReceipts != o.Receipts {
		return refuse(h, "parent receipts root is %s, must be %s", h.ParentMessageReceipts, o.Receipts)
	}
	w, err := n.cons.weight(ctx, base)
	if err != nil {
		return err
	}
	if !h.ParentWeight.Equals(w) {
		return refuse(h, "parent weight is %s, must be %s", h.ParentWeight, w)
	}
	fee, err := n.baseFee(ctx, base)
	if err != nil {
		return err
	}
	if !h.ParentBaseFee.Equals(fee) {
		return refuse(h, "base fee is %s, must be %s", h.ParentBaseFee, fee)
	}
	want, err := n.beacon.between(base.Height, h.Height)
	if err != nil {
		return err
	}
	if len(want) != len(h.BeaconEntries) {
		return refuse(h, "%d beacon entries, must be %d", len(h.BeaconEntries), len(want))
	}
	for i, e := range h.BeaconEntries {
		if e.Round != want[i].Round || !bytes.Equal(e.Data, want[i].Data) {
			return refuse(h, "beacon entry of round %d is wrong", want[i].Round)
		}
	}
	return nil
}

// validateElection checks that the miner won, signed and proved.
func (n *Node) validateElection(ctx context.Context, h *api.BlockHeader, base *api.TipSet) error {
	info, err := n.cons.baseInfo(ctx, h.Miner, h.Height, base)
	if err != nil {
		return refuse(h, "miner cannot be examined: %v", err)
	}
	if info == nil || !info.EligibleForMining {
		return refuse(h, "miner is not eligible to mine")
	}
	if err := verifyHeader(h, info.WorkerKey); err != nil {
		return refuse(h, "block signature: %v", err)
	}
	rbase := h.BeaconEntries[len(h.BeaconEntries)-1]
	in, err := electionInput(rbase, h.Miner, h.Height)
	if err != nil {
		return err
	}
	if err := verifyVRF(info.WorkerKey, in, h.ElectionProof.VRFProof); err != nil {
		return refuse(h, "election proof: %v", err)
	}
	if wins := winCount(h.ElectionProof.VRFProof, info.MinerPower, info.NetworkPower); h.ElectionProof.WinCount != wins || wins < 1 {
		return refuse(h, "claims to have won %d times, won %d times", h.ElectionProof.WinCount, wins)
	}
	if in, err = ticketInput(rbase, h.Miner, h.Height, base); err != nil {
		return err
	}
	if err := verifyVRF(info.WorkerKey, in, h.Ticket.VRFProof); err != nil {
		return refuse(h, "ticket: %v", err)
	}
	return n.validateWinning(ctx, h, info)
}

func (n *Node) validateWinning(ctx context.Context, h *api.BlockHeader, info *api.MiningBaseInfo) error {
	rand, err := winningRandomness(h.BeaconEntries[len(h.BeaconEntries)-1], h.Miner, h.Height)
	if err != nil {
		return err
	}
	id, err := address.IDFromAddress(h.Miner)
	if err != nil {
		return refuse(h, "miner address: %v", err)
	}
	var sectors []proof.SectorInfo
	for _, s := range info.Sectors {
		sectors = append(sectors, proof.SectorInfo{SealProof: s.SealProof, SectorNumber: s.SectorNumber, SealedCID: s.SealedCID})
	}
	ok, err := n.winning.Winning(ctx, proof.WinningPoStVerifyInfo{
		Randomness:        rand,
		Proofs:            h.WinPoStProof,
		ChallengedSectors: sectors,
		Prover:            abi.ActorID(id),
	})
	if err != nil {
		return refuse(h, "winning PoSt: %v", err)
	}
	if !ok {
		return refuse(h, "winning PoSt is not valid")
	}
	return nil
}

func verifyVRF(worker address.Address, input, vrf []byte) error {
	return filcrypto.Verify(&crypto.Signature{Type: crypto.SigTypeBLS, Data: vrf}, worker, input)
}

// validateMessages checks the message lists: the root, signatures, nonces in
// sequence from the state, gas.
func (n *Node) validateMessages(ctx context.Context, bm *api.BlockMsg, base *api.TipSet) error {
	h := bm.Header
	root, err := n.ledger.storeMeta(ctx, bm.BlsMessages, bm.SecpkMessages)
	if err != nil {
		return err
	}
	if root != h.Messages {
		return refuse(h, "message lists have root %s, header says %s", root, h.Messages)
	}
	msgs, err := n.ledger.loadAll(ctx, bm.BlsMessages, bm.SecpkMessages)
	if err != nil {
		return refuse(h, "messages: %v", err)
	}
	v, err := n.ledger.view(ctx, h.ParentStateRoot)
	if err != nil {
		return err
	}
	nonces := map[address.Address]uint64{}
	var gas int64
	var pubs, texts [][]byte
	for _, im := range msgs {
		m := im.msg
		key, err := n.checkBlockMessage(ctx, v, im, nonces)
		if err != nil {
			return refuse(h, "message %s: %v", im.cid, err)
		}
		if gas += m.GasLimit; gas > blockGasLimit {
			return refuse(h, "messages ask for more gas than a block has")
		}
		if im.signed == nil {
			pubs, texts = append(pubs, key.Payload()), append(texts, im.cid.Bytes())
		} else if err := filcrypto.Verify(&im.signed.Signature, key, m.Cid().Bytes()); err != nil {
			return refuse(h, "message %s: %v", im.cid, err)
		}
	}
	if err := verifyAggregate(pubs, texts, h.BLSAggregate); err != nil {
		return refuse(h, "BLS aggregate: %v", err)
	}
	return nil
}

func (n *Node) checkBlockMessage(ctx context.Context, v *view, im included, nonces map[address.Address]uint64) (address.Address, error) {
	m := im.msg
	if err := checkStatic(m, im.chainLen()); err != nil {
		return address.Undef, err
	}
	key, err := v.accountKey(ctx, m.From)
	if err != nil {
		return address.Undef, err
	}
	if (im.signed == nil) != (key.Protocol() == address.BLS) {
		return address.Undef, fmt.Errorf("sender %s does not fit the list it is in", key)
	}
	act, err := v.actor(ctx, m.From)
	if err != nil {
		return address.Undef, err
	}
	want, ok := nonces[key]
	if !ok {
		want = act.CallSeqNum
	}
	if m.Nonce != want {
		return address.Undef, fmt.Errorf("nonce %d, must be %d", m.Nonce, want)
	}
	nonces[key] = want + 1
	if act.Balance.LessThan(big.Mul(m.GasFeeCap, big.NewInt(m.GasLimit))) {
		return address.Undef, fmt.Errorf("sender cannot pay for gas")
	}
	return key, nil
}
