package devnet

import (
	"bytes"
	"context"
	"errors"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/internal/filcrypto"
)

// verifyAggregate checks a block's BLS aggregate; of nothing it must be the
// point at infinity.
func verifyAggregate(pubs, msgs [][]byte, agg *crypto.Signature) error {
	if agg.Type != crypto.SigTypeBLS {
		return errors.New("not a BLS signature")
	}
	if len(pubs) == 0 {
		if !bytes.Equal(agg.Data, emptyAggregate()) {
			return errors.New("block without BLS messages must carry the empty aggregate")
		}
		return nil
	}
	return filcrypto.VerifyAggregateBLS(pubs, msgs, agg.Data)
}

func emptyAggregate() []byte {
	b := make([]byte, 96)
	b[0] = 0xc0
	return b
}

// selectMessages fills a block on a state: senders compete by the premium of
// their next message; nonces stay in sequence and gas stays payable.
func (n *Node) selectMessages(ctx context.Context, root cid.Cid, baseFee abi.TokenAmount) ([]*api.SignedMessage, error) {
	v, err := n.ledger.view(ctx, root)
	if err != nil {
		return nil, err
	}
	queues := map[address.Address][]*api.SignedMessage{}
	funds := map[address.Address]abi.TokenAmount{}
	for _, key := range n.pool.senders() {
		act, ok, err := v.tree.GetActor(ctx, key)
		if err != nil {
			return nil, err
		}
		if ok {
			queues[key], funds[key] = n.pool.of(key, act.CallSeqNum), act.Balance
		}
	}
	var out []*api.SignedMessage
	var gas int64
	for len(out) < maxSelectedCount {
		var best address.Address
		for key, q := range queues {
			if len(q) == 0 || q[0].Message.GasFeeCap.LessThan(baseFee) {
				continue
			}
			if best == address.Undef {
				best = key
				continue
			}
			d := big.Cmp(effectivePremium(&q[0].Message, baseFee), effectivePremium(&queues[best][0].Message, baseFee))
			if d > 0 || (d == 0 && bytes.Compare(key.Bytes(), best.Bytes()) < 0) {
				best = key
			}
		}
		if best == address.Undef {
			break
		}
		m := &queues[best][0].Message
		cost := big.Mul(m.GasFeeCap, big.NewInt(m.GasLimit))
		if gas+m.GasLimit > blockGasLimit || funds[best].LessThan(cost) {
			delete(queues, best)
			continue
		}
		gas += m.GasLimit
		funds[best] = big.Sub(funds[best], cost)
		out = append(out, queues[best][0])
		queues[best] = queues[best][1:]
	}
	return out, nil
}
