package devnet

import (
	"bytes"
	"context"
	"fmt"

	"github.com/filecoin-project/go-amt-ipld/v2"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/api"
)

// loadMessage reads a message by CID, signed or not.
func (l *ledger) loadMessage(ctx context.Context, c cid.Cid) (*api.Message, *api.SignedMessage, error) {
	raw, err := l.blocks.Get(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	if m, err := api.DecodeMessage(raw); err == nil {
		return m, nil, nil
	}
	s, err := api.DecodeSignedMessage(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("%s is not a message: %w", c, err)
	}
	return &s.Message, s, nil
}

// storeMessage keeps a message under its CID (the unsigned form for BLS).
func (l *ledger) storeMessage(ctx context.Context, s *api.SignedMessage) error {
	var raw []byte
	var err error
	if s.Cid() == s.Message.Cid() {
		raw, err = s.Message.Serialize()
	} else {
		raw, err = s.Serialize()
	}
	if err != nil {
		return fmt.Errorf("encode message %s: %w", s.Cid(), err)
	}
	return l.blocks.Put(ctx, s.Cid(), raw)
}

// storeMeta writes the message lists of a block and returns their root.
func (l *ledger) storeMeta(ctx context.Context, bls, secp []cid.Cid) (cid.Cid, error) {
	store := l.blocks.ipld()
	var meta bytes.Buffer
	cw := cbg.NewCborWriter(&meta)
	if err := cw.WriteMajorTypeHeader(cbg.MajArray, 2); err != nil {
		return cid.Undef, err
	}
	for _, list := range [][]cid.Cid{bls, secp} {
		vals := make([]cbg.CBORMarshaler, len(list))
		for i := range list {
			c := cbg.CborCid(list[i])
			vals[i] = &c
		}
		root, err := amt.FromArray(ctx, store, vals)
		if err != nil {
			return cid.Undef, fmt.Errorf("build message list: %w", err)
		}
		if err := cbg.WriteCid(cw, root); err != nil {
			return cid.Undef, err
		}
	}
	c, err := cborSum(meta.Bytes())
	if err != nil {
		return cid.Undef, err
	}
	return c, l.blocks.Put(ctx, c, meta.Bytes())
}

// blockCids lists the message CIDs of a block.
func (l *ledger) blockCids(ctx context.Context, h *api.BlockHeader) (bls, secp []cid.Cid, err error) {
	raw, err := l.blocks.Get(ctx, h.Messages)
	if err != nil {
		return nil, nil, fmt.Errorf("message lists of block %s: %w", h.Cid(), err)
	}
	cr := cbg.NewCborReader(bytes.NewReader(raw))
	maj, n, err := cr.ReadHeader()
	if err != nil || maj != cbg.MajArray || n != 2 {
		return nil, nil, fmt.Errorf("message lists of block %s are malformed", h.Cid())
	}
	for _, out := range []*[]cid.Cid{&bls, &secp} {
		root, err := cbg.ReadCid(cr)
		if err != nil {
			return nil, nil, fmt.Errorf("message lists of block %s: %w", h.Cid(), err)
		}
		if *out, err = l.cidArray(ctx, root); err != nil {
			return nil, nil, fmt.Errorf("message lists of block %s: %w", h.Cid(), err)
		}
	}
	return bls, secp, nil
}

func (l *ledger) cidArray(ctx context.Context, root cid.Cid) ([]cid.Cid, error) {
	a, err := amt.LoadAMT(ctx, l.blocks.ipld(), root)
	if err != nil {
		return nil, err
	}
	out := make([]cid.Cid, 0, a.Count)
	err = a.ForEach(ctx, func(_ uint64, d *cbg.Deferred) error {
		c, err := cbg.ReadCid(bytes.NewReader(d.Raw))
		out = append(out, c)
		return err
	})
	return out, err
}

// included is one message of a block with the number of bytes it is charged.
type included struct {
	cid    cid.Cid
	msg    *api.Message
	signed *api.SignedMessage // nil for BLS
}

func (i included) chainLen() int {
	if i.signed != nil {
		return i.signed.ChainLength()
	}
	return i.msg.ChainLength()
}

// blockMessages loads the messages of a block, BLS first.
func (l *ledger) blockMessages(ctx context.Context, h *api.BlockHeader) ([]included, error) {
	bls, secp, err := l.blockCids(ctx, h)
	if err != nil {
		return nil, err
	}
	return l.loadAll(ctx, bls, secp)
}

func (l *ledger) loadAll(ctx context.Context, bls, secp []cid.Cid) ([]included, error) {
	out := make([]included, 0, len(bls)+len(secp))
	for i, c := range append(append([]cid.Cid{}, bls...), secp...) {
		m, s, err := l.loadMessage(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("message %s: %w", c, err)
		}
		if (s == nil) != (i < len(bls)) {
			return nil, fmt.Errorf("message %s is in the wrong list", c)
		}
		out = append(out, included{c, m, s})
	}
	return out, nil
}

// tipsetMessages lists the messages that executing ts applies, in order: each
// CID once.
func (l *ledger) tipsetMessages(ctx context.Context, ts *api.TipSet) ([]included, error) {
	seen := map[cid.Cid]struct{}{}
	var out []included
	for _, b := range ts.Blocks {
		ms, err := l.blockMessages(ctx, b)
		if err != nil {
			return nil, err
		}
		for _, m := range ms {
			if _, dup := seen[m.cid]; !dup {
				seen[m.cid] = struct{}{}
				out = append(out, m)
			}
		}
	}
	return out, nil
}

// receipts reads a receipts list.
func (l *ledger) receipts(ctx context.Context, root cid.Cid) ([]*api.MessageReceipt, error) {
	a, err := amt.LoadAMT(ctx, l.blocks.ipld(), root)
	if err != nil {
		return nil, fmt.Errorf("receipts %s: %w", root, err)
	}
	out := make([]*api.MessageReceipt, 0, a.Count)
	err = a.ForEach(ctx, func(_ uint64, d *cbg.Deferred) error {
		var r api.MessageReceipt
		if err := r.UnmarshalCBOR(bytes.NewReader(d.Raw)); err != nil {
			return err
		}
		out = append(out, &r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("receipts %s: %w", root, err)
	}
	return out, nil
}
