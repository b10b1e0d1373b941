package wire

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"
	cbg "github.com/whyrusleeping/cbor-gen"
)

type message interface {
	cbg.CBORMarshaler
	cbg.CBORUnmarshaler
}

var (
	testUUID = uuid.MustParse("00112233-4455-6677-8899-aabbccddeeff")
	testSig  = crypto.Signature{Type: crypto.SigTypeBLS, Data: []byte{1, 2}}
	pieceP   = cid.MustParse("baga6ea4seaqofo6d7zmjr5crnswer5f2m5hdpumdj2co7eaw7teqzqhns4ytyni")
	rootR    = cid.MustParse("bafkreehdwdcefgh4dqkjv67uzcmw7oje")
)

const (
	hexProposal = "8bd82a5828000181e203922020e2bbc3fe5898f4516cac48f4ba674e37d1834e84ef9016fcc90cc0ed97313c351904" +
		"00f54300e9074300e807626869190b401a0007f440404300012c40"
	hexTransfer = "a46453697a651903e86454797065646874747066506172616d7358457b2255524c223a22687474703a2f2f782f792e" +
		"636172222c2248656164657273223a7b22417574686f72697a6174696f6e223a224261736963204f6e527661773d3d227d7d68436c69656e74494460"
)

func proposal(t testing.TB) market.DealProposal {
	label, err := market.NewLabelFromString("hi")
	require.NoError(t, err)
	client, _ := address.NewIDAddress(1001)
	provider, _ := address.NewIDAddress(1000)
	return market.DealProposal{
		PieceCID:             pieceP,
		PieceSize:            1024,
		VerifiedDeal:         true,
		Client:               client,
		Provider:             provider,
		Label:                label,
		StartEpoch:           2880,
		EndEpoch:             521280,
		StoragePricePerEpoch: big.Zero(),
		ProviderCollateral:   big.NewInt(300),
		ClientCollateral:     big.Zero(),
	}
}

func vectors(t testing.TB) map[string]struct {
	val message
	hex string
} {
	miner, _ := address.NewIDAddress(1000)
	cdp := market.ClientDealProposal{Proposal: proposal(t),
		ClientSignature: crypto.Signature{Type: crypto.SigTypeSecp256k1, Data: bytes.Repeat([]byte{0x11}, 65)}}
	transfer := Transfer{Type: "http", Size: 1000,
		Params: []byte(`{"URL":"http://x/y.car","Headers":{"Authorization":"Basic OnRvaw=="}}`)}
	hexCDP := "82" + hexProposal + "584201" + strings.Repeat("11", 65)
	hexCid := "d82a550001551210e3b0c44298fc1c149afbf4c8996fb924"
	return map[string]struct {
		val message
		hex string
	}{
		"ask request":   {&AskRequest{Miner: miner}, "a1654d696e65724300e807"},
		"ask null":      {&AskResponse{}, "a16341736bf6"},
		"transfer zero": {&Transfer{}, "a46453697a650064547970656066506172616d734068436c69656e74494460"},
		"transfer":      {&transfer, hexTransfer},
		"ask": {&StorageAsk{
			Miner:         miner,
			Price:         big.NewInt(50000000),
			VerifiedPrice: big.NewInt(5000000),
			MinPieceSize:  256,
			MaxPieceSize:  32 << 30,
			Timestamp:     100,
			Expiry:        1000100,
			SeqNo:         7,
		},
			"a8654d696e65724300e807655072696365450002faf080655365714e6f07664578706972791a000f42a46954696d657374616d7018" +
				"646c4d6178506965636553697a651b00000008000000006c4d696e506965636553697a651901006d5665726966696564507269636544004c4b40"},
		"accepted": {&DealResponse{Accepted: true}, "a2674d65737361676560684163636570746564f5"},
		"refused":  {&DealResponse{Message: "no"}, "a2674d657373616765626e6f684163636570746564f4"},
		"params": {&DealParams{
			DealUUID:           testUUID,
			Transfer:           transfer,
			DealDataRoot:       rootR,
			SkipIPNIAnnounce:   true,
			ClientDealProposal: cdp,
		},
			"a7684465616c5555494450" + "00112233445566778899aabbccddeeff" + "685472616e73666572" + hexTransfer + "6949734f66666c696e65f4" +
				"6c4465616c44617461526f6f74" + hexCid + "70536b697049504e49416e6e6f756e6365f5" + "72436c69656e744465616c50726f706f73616c" +
				hexCDP + "7252656d6f7665556e7365616c6564436f7079f4"},
		"status request": {&DealStatusRequest{DealUUID: testUUID, Signature: testSig},
			"a2684465616c555549445000112233445566778899aabbccddeeff695369676e617475726543020102"},
		"status error": {&DealStatusResponse{DealUUID: testUUID, Error: "no"},
			"a6654572726f72626e6f684465616c555549445000112233445566778899aabbccddeeff6949734f66666c696e65f46a4465616c53" +
				"7461747573f66c5472616e7366657253697a65006e4e4279746573526563656976656400"},
	}
}

func TestVectors(t *testing.T) {
	for name, v := range vectors(t) {
		t.Run(name, func(t *testing.T) {
			var buf bytes.Buffer
			require.NoError(t, v.val.MarshalCBOR(&buf))
			require.Equal(t, v.hex, hex.EncodeToString(buf.Bytes()))
			again := fresh(v.val)
			require.NoError(t, again.UnmarshalCBOR(bytes.NewReader(buf.Bytes())))
			var buf2 bytes.Buffer
			require.NoError(t, again.MarshalCBOR(&buf2))
			require.Equal(t, buf.Bytes(), buf2.Bytes())
			// Every cut must be refused: a half message is not a message.
			for i := range buf.Len() {
				require.Error(t, fresh(v.val).UnmarshalCBOR(bytes.NewReader(buf.Bytes()[:i])), "cut at %d", i)
			}
		})
	}
}

func fresh(m message) message {
	switch m.(type) {
	case *AskRequest:
		return new(AskRequest)
	case *AskResponse:
		return new(AskResponse)
	case *StorageAsk:
		return new(StorageAsk)
	case *Transfer:
		return new(Transfer)
	case *DealParams:
		return new(DealParams)
	case *DealResponse:
		return new(DealResponse)
	case *DealStatusRequest:
		return new(DealStatusRequest)
	default:
		return new(DealStatusResponse)
	}
}

func TestStatusRoundTrip(t *testing.T) {
	c := rootR
	in := DealStatusResponse{DealUUID: testUUID, TransferSize: 9, NBytesReceived: 4, DealStatus: &DealStatus{
		Status:            "Published",
		Proposal:          proposal(t),
		SignedProposalCid: rootR,
		PublishCid:        &c,
		ChainDealID:       5,
	}}
	var buf bytes.Buffer
	require.NoError(t, in.MarshalCBOR(&buf))
	var out DealStatusResponse
	require.NoError(t, out.UnmarshalCBOR(&buf))
	require.Equal(t, in.DealStatus.Status, out.DealStatus.Status)
	require.Equal(t, c, *out.DealStatus.PublishCid)
	require.Equal(t, abi.DealID(5), out.DealStatus.ChainDealID)
}

func TestFiveKeysUnknownAndDuplicate(t *testing.T) {
	full := vectors(t)["params"].hex
	five := strings.Replace(full, "a7684465", "a5684465", 1)
	five = strings.Replace(five, "70536b697049504e49416e6e6f756e6365f5", "", 1)
	five = strings.Replace(five, "7252656d6f7665556e7365616c6564436f7079f4", "", 1)
	var p DealParams
	b, _ := hex.DecodeString(five)
	require.NoError(t, p.UnmarshalCBOR(bytes.NewReader(b)))
	require.False(t, p.SkipIPNIAnnounce)

	unknown, _ := hex.DecodeString("a3" + "6158" + "820102" + "674d65737361676560684163636570746564f5")
	var r DealResponse
	require.NoError(t, r.UnmarshalCBOR(bytes.NewReader(unknown)))
	require.True(t, r.Accepted)
	twice, _ := hex.DecodeString("a3" + "684163636570746564f4" + "674d65737361676560684163636570746564f5")
	require.ErrorContains(t, r.UnmarshalCBOR(bytes.NewReader(twice)), "twice")
	missing, _ := hex.DecodeString("a1684163636570746564f4")
	require.ErrorContains(t, r.UnmarshalCBOR(bytes.NewReader(missing)), `"Message" is missing`)
}

func fuzz(f *testing.F, mk func() message) {
	for _, v := range vectors(f) {
		b, _ := hex.DecodeString(v.hex)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := mk()
		if m.UnmarshalCBOR(bytes.NewReader(b)) != nil {
			return
		}
		var buf bytes.Buffer
		if m.MarshalCBOR(&buf) != nil {
			return // an undefined address can be read but not written
		}
		if err := mk().UnmarshalCBOR(&buf); err != nil {
			t.Fatalf("own output refused: %v", err)
		}
	})
}

func FuzzDealParams(f *testing.F)         { fuzz(f, func() message { return new(DealParams) }) }
func FuzzDealStatusRequest(f *testing.F)  { fuzz(f, func() message { return new(DealStatusRequest) }) }
func FuzzDealStatusResponse(f *testing.F) { fuzz(f, func() message { return new(DealStatusResponse) }) }
func FuzzAskRequest(f *testing.F)         { fuzz(f, func() message { return new(AskRequest) }) }
func FuzzAskResponse(f *testing.F)        { fuzz(f, func() message { return new(AskResponse) }) }
func FuzzDealResponse(f *testing.F)       { fuzz(f, func() message { return new(DealResponse) }) }
