package api

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"
)

// Limits of a decoded header and block message. A gossiped block is at most
// 1 MiB and 10,000 messages (lotus build/buildconstants BlockMessageLimit);
// beacon entries are one per epoch since the parent, so that they bound how
// many null rounds one header can span.
const (
	maxHeaderBeacons = 8192
	maxHeaderProofs  = 64
	maxHeaderParents = 64
	maxHeaderBytes   = 2 << 20
	maxBlockMessages = 10_000
)

// Cid is the block identifier: CIDv1, dag-cbor, blake2b-256 of the header.
func (b *BlockHeader) Cid() cid.Cid { return cborCid(b) }

// Serialize returns the CBOR form.
func (b *BlockHeader) Serialize() ([]byte, error) { return serialize(b) }

// SigningBytes is the CBOR form with BlockSig null, over which the worker
// signs directly.
func (b *BlockHeader) SigningBytes() ([]byte, error) {
	c := *b
	c.BlockSig = nil
	return serialize(&c)
}

// DecodeBlockHeader parses exactly one CBOR header.
func DecodeBlockHeader(b []byte) (*BlockHeader, error) {
	var h BlockHeader
	if err := decodeExact(b, &h); err != nil {
		return nil, fmt.Errorf("decode block header: %w", err)
	}
	return &h, nil
}

// MarshalCBOR writes the sixteen-field tuple (lotus chain/types/cbor_gen.go).
func (b *BlockHeader) MarshalCBOR(w io.Writer) error {
	cw := cbg.NewCborWriter(w)
	if err := firstErr(cw.WriteMajorTypeHeader(cbg.MajArray, 16), b.Miner.MarshalCBOR(cw)); err != nil {
		return err
	}
	if err := firstErr(b.Ticket.MarshalCBOR(cw), b.ElectionProof.MarshalCBOR(cw)); err != nil {
		return err
	}
	if err := cw.WriteMajorTypeHeader(cbg.MajArray, uint64(len(b.BeaconEntries))); err != nil {
		return err
	}
	for i := range b.BeaconEntries {
		if err := b.BeaconEntries[i].MarshalCBOR(cw); err != nil {
			return err
		}
	}
	if err := cw.WriteMajorTypeHeader(cbg.MajArray, uint64(len(b.WinPoStProof))); err != nil {
		return err
	}
	for i := range b.WinPoStProof {
		if err := b.WinPoStProof[i].MarshalCBOR(cw); err != nil {
			return err
		}
	}
	return firstErr(
		writeCids(cw, b.Parents), b.ParentWeight.MarshalCBOR(cw), writeInt(cw, int64(b.Height)),
		cbg.WriteCid(cw, b.ParentStateRoot), cbg.WriteCid(cw, b.ParentMessageReceipts), cbg.WriteCid(cw, b.Messages),
		b.BLSAggregate.MarshalCBOR(cw), cw.WriteMajorTypeHeader(cbg.MajUnsignedInt, b.Timestamp),
		b.BlockSig.MarshalCBOR(cw), cw.WriteMajorTypeHeader(cbg.MajUnsignedInt, b.ForkSignaling),
		b.ParentBaseFee.MarshalCBOR(cw),
	)
}

// UnmarshalCBOR reads the tuple.
func (b *BlockHeader) UnmarshalCBOR(r io.Reader) error {
	*b = BlockHeader{}
	cr := cbg.NewCborReader(r)
	if err := expectArray(cr, 16, "block header"); err != nil {
		return err
	}
	if err := b.Miner.UnmarshalCBOR(cr); err != nil {
		return fmt.Errorf("block miner: %w", err)
	}
	if err := b.readElection(cr); err != nil {
		return err
	}
	var err error
	if b.Parents, err = readCids(cr, maxHeaderParents); err != nil {
		return fmt.Errorf("block parents: %w", err)
	}
	if err := b.ParentWeight.UnmarshalCBOR(cr); err != nil {
		return fmt.Errorf("block parent weight: %w", err)
	}
	height, err := readInt(cr)
	if err != nil {
		return fmt.Errorf("block height: %w", err)
	}
	b.Height = abi.ChainEpoch(height)
	for _, c := range []*cid.Cid{&b.ParentStateRoot, &b.ParentMessageReceipts, &b.Messages} {
		if *c, err = cbg.ReadCid(cr); err != nil {
			return fmt.Errorf("block roots: %w", err)
		}
	}
	if b.BLSAggregate, err = readSignature(cr); err != nil {
		return fmt.Errorf("block BLS aggregate: %w", err)
	}
	if b.Timestamp, err = readUint(cr); err != nil {
		return fmt.Errorf("block timestamp: %w", err)
	}
	if b.BlockSig, err = readSignature(cr); err != nil {
		return fmt.Errorf("block signature: %w", err)
	}
	if b.ForkSignaling, err = readUint(cr); err != nil {
		return fmt.Errorf("block fork signaling: %w", err)
	}
	if err := b.ParentBaseFee.UnmarshalCBOR(cr); err != nil {
		return fmt.Errorf("block base fee: %w", err)
	}
	return nil
}

func (b *BlockHeader) readElection(cr *cbg.CborReader) error {
	b.Ticket, b.ElectionProof = new(Ticket), new(ElectionProof)
	if null, err := readNull(cr); err != nil {
		return err
	} else if null {
		b.Ticket = nil
	} else if err := b.Ticket.UnmarshalCBOR(cr); err != nil {
		return err
	}
	if null, err := readNull(cr); err != nil {
		return err
	} else if null {
		b.ElectionProof = nil
	} else if err := b.ElectionProof.UnmarshalCBOR(cr); err != nil {
		return err
	}
	n, err := readLen(cr, maxHeaderBeacons, "beacon entries")
	if err != nil {
		return err
	}
	b.BeaconEntries = make([]BeaconEntry, n)
	for i := range b.BeaconEntries {
		if err := b.BeaconEntries[i].UnmarshalCBOR(cr); err != nil {
			return err
		}
	}
	if n, err = readLen(cr, maxHeaderProofs, "winning PoSt proofs"); err != nil {
		return err
	}
	b.WinPoStProof = make([]proof.PoStProof, n)
	for i := range b.WinPoStProof {
		if err := b.WinPoStProof[i].UnmarshalCBOR(cr); err != nil {
			return fmt.Errorf("winning PoSt proof %d: %w", i, err)
		}
	}
	return nil
}

// MarshalCBOR writes array(1)[VRFProof], null for nil.
func (t *Ticket) MarshalCBOR(w io.Writer) error {
	cw := cbg.NewCborWriter(w)
	if t == nil {
		_, err := cw.Write(cbg.CborNull)
		return err
	}
	return firstErr(cw.WriteMajorTypeHeader(cbg.MajArray, 1), cbg.WriteByteArray(cw, t.VRFProof))
}

// UnmarshalCBOR reads array(1)[VRFProof].
func (t *Ticket) UnmarshalCBOR(r io.Reader) (err error) {
	cr := cbg.NewCborReader(r)
	if err := expectArray(cr, 1, "ticket"); err != nil {
		return err
	}
	t.VRFProof, err = readBytes(cr, "ticket")
	return err
}

// MarshalCBOR writes array(2)[WinCount, VRFProof], null for nil.
func (e *ElectionProof) MarshalCBOR(w io.Writer) error {
	cw := cbg.NewCborWriter(w)
	if e == nil {
		_, err := cw.Write(cbg.CborNull)
		return err
	}
	return firstErr(cw.WriteMajorTypeHeader(cbg.MajArray, 2), writeInt(cw, e.WinCount), cbg.WriteByteArray(cw, e.VRFProof))
}

// UnmarshalCBOR reads array(2)[WinCount, VRFProof].
func (e *ElectionProof) UnmarshalCBOR(r io.Reader) (err error) {
	cr := cbg.NewCborReader(r)
	if err := expectArray(cr, 2, "election proof"); err != nil {
		return err
	}
	if e.WinCount, err = readInt(cr); err != nil {
		return fmt.Errorf("win count: %w", err)
	}
	e.VRFProof, err = readBytes(cr, "election proof")
	return err
}

// MarshalCBOR writes array(2)[Round, Data].
func (e *BeaconEntry) MarshalCBOR(w io.Writer) error {
	cw := cbg.NewCborWriter(w)
	return firstErr(cw.WriteMajorTypeHeader(cbg.MajArray, 2),
		cw.WriteMajorTypeHeader(cbg.MajUnsignedInt, e.Round), cbg.WriteByteArray(cw, e.Data))
}

// UnmarshalCBOR reads array(2)[Round, Data].
func (e *BeaconEntry) UnmarshalCBOR(r io.Reader) (err error) {
	cr := cbg.NewCborReader(r)
	if err := expectArray(cr, 2, "beacon entry"); err != nil {
		return err
	}
	if e.Round, err = readUint(cr); err != nil {
		return fmt.Errorf("beacon round: %w", err)
	}
	e.Data, err = readBytes(cr, "beacon entry")
	return err
}

// MarshalCBOR writes array(3)[header, BLS CIDs, secp256k1 CIDs].
func (b *BlockMsg) MarshalCBOR(w io.Writer) error {
	if b.Header == nil {
		return errors.New("block message without a header")
	}
	cw := cbg.NewCborWriter(w)
	return firstErr(cw.WriteMajorTypeHeader(cbg.MajArray, 3), b.Header.MarshalCBOR(cw),
		writeCids(cw, b.BlsMessages), writeCids(cw, b.SecpkMessages))
}

// UnmarshalCBOR reads array(3)[header, BLS CIDs, secp256k1 CIDs].
func (b *BlockMsg) UnmarshalCBOR(r io.Reader) (err error) {
	*b = BlockMsg{Header: new(BlockHeader)}
	cr := cbg.NewCborReader(r)
	if err := expectArray(cr, 3, "block message"); err != nil {
		return err
	}
	if err := b.Header.UnmarshalCBOR(cr); err != nil {
		return err
	}
	if b.BlsMessages, err = readCids(cr, maxBlockMessages); err != nil {
		return fmt.Errorf("block BLS messages: %w", err)
	}
	if b.SecpkMessages, err = readCids(cr, maxBlockMessages); err != nil {
		return fmt.Errorf("block secp256k1 messages: %w", err)
	}
	return nil
}

// MarshalCBOR writes array(4)[ExitCode, Return, GasUsed, EventsRoot or null].
func (m *MessageReceipt) MarshalCBOR(w io.Writer) error {
	cw := cbg.NewCborWriter(w)
	if err := firstErr(cw.WriteMajorTypeHeader(cbg.MajArray, 4), writeInt(cw, int64(m.ExitCode)),
		cbg.WriteByteArray(cw, m.Return), writeInt(cw, m.GasUsed)); err != nil {
		return err
	}
	if m.EventsRoot == nil {
		_, err := cw.Write(cbg.CborNull)
		return err
	}
	return cbg.WriteCid(cw, *m.EventsRoot)
}

// UnmarshalCBOR reads array(4)[ExitCode, Return, GasUsed, EventsRoot or null].
func (m *MessageReceipt) UnmarshalCBOR(r io.Reader) error {
	*m = MessageReceipt{}
	cr := cbg.NewCborReader(r)
	if err := expectArray(cr, 4, "receipt"); err != nil {
		return err
	}
	code, err := readInt(cr)
	if err != nil {
		return fmt.Errorf("receipt exit code: %w", err)
	}
	m.ExitCode = exitcode.ExitCode(code)
	if m.Return, err = readBytes(cr, "receipt return"); err != nil {
		return err
	}
	if len(m.Return) == 0 {
		m.Return = nil
	}
	if m.GasUsed, err = readInt(cr); err != nil {
		return fmt.Errorf("receipt gas: %w", err)
	}
	null, err := readNull(cr)
	if err != nil || null {
		return err
	}
	c, err := cbg.ReadCid(cr)
	if err != nil {
		return fmt.Errorf("receipt events root: %w", err)
	}
	m.EventsRoot = &c
	return nil
}

// Cid names the tipset key: CID of the CBOR byte string of its bytes.
func (k TipSetKey) Cid() cid.Cid { return cborCid(cborBytes(k.Bytes())) }

type cborBytes []byte

func (b cborBytes) MarshalCBOR(w io.Writer) error {
	return cbg.WriteByteArray(cbg.NewCborWriter(w), b)
}

// NewTipSet checks that the blocks belong together and sorts them by ticket
// hash, ties by CID (lotus chain/types/tipset.go).
func NewTipSet(blocks []*BlockHeader) (*TipSet, error) {
	if len(blocks) == 0 {
		return nil, errors.New("tipset without blocks")
	}
	type keyed struct {
		c cid.Cid
		t [32]byte
		h *BlockHeader
	}
	ks := make([]keyed, 0, len(blocks))
	for _, b := range blocks {
		if b == nil || b.Ticket == nil {
			return nil, errors.New("tipset with a block that has no ticket")
		}
		if b.Height != blocks[0].Height || !TipSetKey(b.Parents).Equal(blocks[0].Parents) {
			return nil, errors.New("tipset with blocks of different heights or parents")
		}
		ks = append(ks, keyed{b.Cid(), ticketHash(b.Ticket), b})
	}
	slices.SortFunc(ks, func(a, b keyed) int { return compareTickets(a.t, b.t, a.c, b.c) })
	ts := &TipSet{Height: blocks[0].Height}
	for i, k := range ks {
		if i > 0 && k.c == ks[i-1].c {
			return nil, fmt.Errorf("tipset with block %s twice", k.c)
		}
		ts.Cids, ts.Blocks = append(ts.Cids, k.c), append(ts.Blocks, k.h)
	}
	return ts, nil
}
