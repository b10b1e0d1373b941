package api

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
)

// lotus chain/types/blockheader_test.go, TestInteropBH.
const headerVector = "905501d04cb15021bf6bd003073d79e2238d4e61f1ad2281430102038200420a0b818205410c818200410781" +
	"d82a5827000171a0e402202f84fef0d7cc2d7f9f00d22445f7bf7539fdd685fd9f284aa37f3822b57619cc430003e802d82a58270001" +
	"71a0e402202f84fef0d7cc2d7f9f00d22445f7bf7539fdd685fd9f284aa37f3822b57619ccd82a5827000171a0e402202f84fef0d7cc" +
	"2d7f9f00d22445f7bf7539fdd685fd9f284aa37f3822b57619ccd82a5827000171a0e402202f84fef0d7cc2d7f9f00d22445f7bf7539" +
	"fdd685fd9f284aa37f3822b57619cc410001f60345003b9aca00"

func vectorHeader(t testing.TB) *BlockHeader {
	t.Helper()
	miner, err := address.NewSecp256k1Address([]byte("address0"))
	if err != nil {
		t.Fatal(err)
	}
	c := cid.MustParse("bafy2bzaceaxyj7xq27gc2747adjcirpxx52tt7owqx6z6kckun7tqivvoym4y")
	return &BlockHeader{
		Miner:                 miner,
		Ticket:                &Ticket{VRFProof: []byte{1, 2, 3}},
		ElectionProof:         &ElectionProof{VRFProof: []byte{10, 11}},
		BeaconEntries:         []BeaconEntry{{Round: 5, Data: []byte{12}}},
		WinPoStProof:          []proof.PoStProof{{ProofBytes: []byte{7}}},
		Parents:               []cid.Cid{c},
		ParentWeight:          big.NewInt(1000),
		Height:                2,
		ParentStateRoot:       c,
		ParentMessageReceipts: c,
		Messages:              c,
		BLSAggregate:          &crypto.Signature{},
		Timestamp:             1,
		BlockSig:              &crypto.Signature{Type: crypto.SigTypeBLS, Data: []byte{3}},
		ForkSignaling:         3,
		ParentBaseFee:         big.NewInt(1_000_000_000),
	}
}

func TestHeaderVector(t *testing.T) {
	h := vectorHeader(t)
	b, err := h.SigningBytes()
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(b); got != headerVector {
		t.Fatalf("signing bytes\n%s, want\n%s", got, headerVector)
	}
	h.BLSAggregate = &crypto.Signature{Type: crypto.SigTypeBLS, Data: []byte{9}}
	raw, err := h.Serialize()
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeBlockHeader(raw)
	if err != nil || !reflect.DeepEqual(back, h) {
		t.Fatalf("decoded %+v, %v", back, err)
	}
	if _, err := DecodeBlockHeader(append(raw, 0)); err == nil {
		t.Error("trailing bytes were accepted")
	}
	for i := range raw {
		if _, err := DecodeBlockHeader(raw[:i]); err == nil {
			t.Fatalf("a header cut at %d bytes was accepted", i)
		}
	}
}

func TestReceiptAndBlockMsg(t *testing.T) {
	c := vectorHeader(t).Messages
	for _, r := range []MessageReceipt{{ExitCode: 16, GasUsed: 5}, {Return: []byte{1}, EventsRoot: &c}} {
		var buf bytes.Buffer
		if err := r.MarshalCBOR(&buf); err != nil {
			t.Fatal(err)
		}
		var back MessageReceipt
		if err := back.UnmarshalCBOR(&buf); err != nil || !reflect.DeepEqual(back, r) {
			t.Errorf("%+v became %+v, %v", r, back, err)
		}
	}
	h := vectorHeader(t)
	h.BLSAggregate = &crypto.Signature{Type: crypto.SigTypeBLS, Data: []byte{9}}
	bm := &BlockMsg{Header: h, BlsMessages: []cid.Cid{c}, SecpkMessages: []cid.Cid{}}
	raw, err := serialize(bm)
	if err != nil {
		t.Fatal(err)
	}
	var back BlockMsg
	if err := decodeExact(raw, &back); err != nil || !reflect.DeepEqual(&back, bm) {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestTipSetOrder(t *testing.T) {
	var hs []*BlockHeader
	for i := range 5 {
		h := *vectorHeader(t)
		h.Ticket = &Ticket{VRFProof: []byte{byte(i)}}
		hs = append(hs, &h)
	}
	ts, err := NewTipSet(hs)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(ts.Blocks); i++ {
		a, b := ticketHash(ts.Blocks[i-1].Ticket), ticketHash(ts.Blocks[i].Ticket)
		if bytes.Compare(a[:], b[:]) >= 0 || ts.Blocks[i].Cid() != ts.Cids[i] {
			t.Fatal("blocks are not in ticket order")
		}
	}
	other := *hs[0]
	other.Height++
	for name, bad := range map[string][]*BlockHeader{"none": nil, "twice": {hs[0], hs[0]}, "heights": {hs[0], &other}} {
		if _, err := NewTipSet(bad); err == nil {
			t.Errorf("tipset %s was accepted", name)
		}
	}
	if ts.Key().Cid() == (TipSetKey{}).Cid() {
		t.Error("tipset keys collide")
	}
}

func FuzzDecodeBlockHeader(f *testing.F) {
	raw, err := hex.DecodeString(headerVector)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := DecodeBlockHeader(b)
		if err != nil {
			return
		}
		out, err := h.Serialize()
		if err != nil {
			t.Fatalf("decoded header does not encode: %v", err)
		}
		again, err := DecodeBlockHeader(out)
		if err != nil || again.Cid() != h.Cid() {
			t.Fatalf("header does not survive a round trip: %v", err)
		}
	})
}
