package devnet

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/google/uuid"
	"github.com/ipfs/go-cid"

	"quarry/api"
)

// maxBatch bounds the messages of one push.
const maxBatch = 1000

// poolBuffer is how far a subscriber of the pool may fall behind before it is cut
// off.
const poolBuffer = 256

// poolSizeLimit bounds the messages of the pool. It refuses more instead of
// throwing out what it has acknowledged.
const poolSizeLimit = 30_000

// replaceByFeeAdvice is the factor on the old premium that tools should offer for a
// replacement (lotus chain/messagepool); the pool takes less, see replaceByFeePct.
const replaceByFeeAdvice = 1.25

func checkBatch(n int) error {
	if n > maxBatch {
		return &api.ErrInvalid{What: "batch", Reason: fmt.Sprintf("%d messages, limit %d", n, maxBatch), Hint: "push them in several calls"}
	}
	return nil
}

// stopped says how far a batch came. What was pushed stays.
func stopped(i, n int, err error) error {
	return fmt.Errorf("message %d of %d was refused, the %d before it are pushed: %w", i+1, n, i, err)
}

// MpoolBatchPush implements api.ChainTools.
func (n *Node) MpoolBatchPush(ctx context.Context, msgs []*api.SignedMessage) ([]cid.Cid, error) {
	if err := checkBatch(len(msgs)); err != nil {
		return nil, err
	}
	for i, s := range msgs {
		if s == nil {
			return nil, stopped(0, len(msgs), &api.ErrInvalid{What: fmt.Sprintf("message %d", i+1), Reason: "none given"})
		}
		if err := complete(&s.Message); err != nil {
			return nil, stopped(0, len(msgs), fmt.Errorf("message %d: %w", i+1, err))
		}
	}
	out := make([]cid.Cid, 0, len(msgs))
	for i, s := range msgs {
		c, err := n.MpoolPush(ctx, s)
		if err != nil {
			return nil, stopped(i, len(msgs), err)
		}
		out = append(out, c)
	}
	return out, nil
}

// MpoolBatchPushMessage implements api.ChainTools. The id of the spec makes the
// whole batch repeatable: each message has an id made from it.
func (n *Node) MpoolBatchPushMessage(ctx context.Context, msgs []*api.Message, spec *api.MessageSendSpec) ([]*api.SignedMessage, error) {
	if err := checkBatch(len(msgs)); err != nil {
		return nil, err
	}
	for i, m := range msgs {
		if err := complete(m); err != nil {
			return nil, stopped(0, len(msgs), fmt.Errorf("message %d: %w", i+1, err))
		}
	}
	out := make([]*api.SignedMessage, 0, len(msgs))
	for i, m := range msgs {
		s, err := n.MpoolPushMessage(ctx, m, nth(spec, i))
		if err != nil {
			return nil, stopped(i, len(msgs), err)
		}
		out = append(out, s)
	}
	return out, nil
}

// nth is the spec of the i-th message of a batch.
func nth(spec *api.MessageSendSpec, i int) *api.MessageSendSpec {
	if spec == nil || spec.MsgUuid == uuid.Nil || i == 0 {
		return spec
	}
	one := *spec
	one.MsgUuid = uuid.NewSHA1(spec.MsgUuid, binary.BigEndian.AppendUint64(nil, uint64(i)))
	return &one
}

// MpoolSub implements api.ChainTools.
func (n *Node) MpoolSub(ctx context.Context) (<-chan api.MpoolUpdate, error) {
	return n.pool.changes.subscribe(ctx, nil), nil
}

// MpoolGetConfig implements api.ChainTools: the rules of this pool. Nobody's
// messages go first, and it never prunes.
func (n *Node) MpoolGetConfig(context.Context) (*api.MpoolConfig, error) {
	return &api.MpoolConfig{
		SizeLimitHigh:          poolSizeLimit,
		SizeLimitLow:           poolSizeLimit,
		ReplaceByFeeRatio:      replaceByFeeAdvice,
		GasLimitOverestimation: float64(overestimatePct) / 100,
	}, nil
}
