package genesis

import (
	"bytes"
	"context"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/api"
	"quarry/chain/fvm"
)

// Parent is what every Filecoin genesis block names as its parent (lotus
// chain/gen/genesis/genblock.go).
var Parent = cid.MustParse("bafyreiaqpwbbyjo4a42saasj36kkrpv4tsherf2e7bvezkert2a7dhonoi")

// The empty AMT v0 in CBOR, root of empty message and receipt lists, and
// its CID (go-amt-ipld/v2: height 0, count 0, empty node).
var (
	EmptyAMT     = cid.MustParse("bafy2bzacedswlcz5ddgqnyo3sak3jmhmkxashisnlpq6ujgyhe4mlobzpnhs6")
	EmptyMsgMeta = cid.MustParse("bafy2bzacecmda75ovposbdateg7eyhwij65zklgyijgcjwynlklmqazpwlhba")
	emptyAMT     = []byte{0x83, 0x00, 0x00, 0x83, 0x41, 0x00, 0x80, 0x80}
)

func header(ctx context.Context, cfg Config, store fvm.Blockstore, root cid.Cid) (*api.BlockHeader, error) {
	var meta bytes.Buffer
	cw := cbg.NewCborWriter(&meta)
	for _, err := range []error{cw.WriteMajorTypeHeader(cbg.MajArray, 2), cbg.WriteCid(cw, EmptyAMT), cbg.WriteCid(cw, EmptyAMT)} {
		if err != nil {
			return nil, fmt.Errorf("genesis: encode empty message list: %w", err)
		}
	}
	h := &api.BlockHeader{
		Miner:                 builtin.SystemActorAddr,
		Ticket:                &api.Ticket{VRFProof: cfg.Seed[:]},
		ElectionProof:         &api.ElectionProof{},
		BeaconEntries:         []api.BeaconEntry{{Round: 0, Data: make([]byte, 32)}},
		WinPoStProof:          []proof.PoStProof{},
		Parents:               []cid.Cid{Parent},
		ParentWeight:          big.Zero(),
		ParentStateRoot:       root,
		ParentMessageReceipts: EmptyAMT,
		Messages:              EmptyMsgMeta,
		Timestamp:             cfg.Timestamp,
		ParentBaseFee:         initialBase,
	}
	raw, err := h.Serialize()
	if err != nil {
		return nil, fmt.Errorf("genesis: encode header: %w", err)
	}
	for _, b := range []struct {
		want cid.Cid
		data []byte
	}{{EmptyAMT, emptyAMT}, {EmptyMsgMeta, meta.Bytes()}, {h.Cid(), raw}} {
		if c, err := abi.CidBuilder.Sum(b.data); err != nil || c != b.want {
			return nil, fmt.Errorf("genesis: block %s encodes as %s: %v", b.want, c, err)
		}
		if err := store.Put(ctx, b.want, b.data); err != nil {
			return nil, fmt.Errorf("genesis: store %s: %w", b.want, err)
		}
	}
	return h, nil
}
