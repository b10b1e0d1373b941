package wire

import (
	"io"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
)

// Protocol IDs served by a provider.
const (
	ProtocolAsk     = "/fil/storage/ask/1.1.0"
	ProtocolDeal120 = "/fil/storage/mk/1.2.0"
	ProtocolDeal121 = "/fil/storage/mk/1.2.1"
	ProtocolStatus  = "/fil/storage/status/1.2.0"
)

// MaxMessage bounds one message of any of these protocols, in bytes. A real
// proposal is below 2 KiB.
const MaxMessage = 128 << 10

// ReasonEscrow begins the refusal of a deal that the client's escrow does not
// cover; Boost's words.
const ReasonEscrow = "client available funds in escrow"

// AskRequest asks for the current offer of a miner.
type AskRequest struct{ Miner address.Address }

func (t *AskRequest) fields() []field { return []field{addr("Miner", &t.Miner)} }

// MarshalCBOR writes the map form.
func (t *AskRequest) MarshalCBOR(w io.Writer) error { return writeMap(w, t.fields()) }

// UnmarshalCBOR reads the map form.
func (t *AskRequest) UnmarshalCBOR(r io.Reader) error {
	*t = AskRequest{}
	return readMap(r, "AskRequest", t.fields())
}

// StorageAsk is the offer; prices in attoFIL per GiB per epoch.
type StorageAsk struct {
	Miner         address.Address
	Price         abi.TokenAmount
	VerifiedPrice abi.TokenAmount
	MinPieceSize  abi.PaddedPieceSize
	MaxPieceSize  abi.PaddedPieceSize
	Timestamp     abi.ChainEpoch
	Expiry        abi.ChainEpoch
	SeqNo         uint64
}

func (t *StorageAsk) fields() []field {
	return []field{addr("Miner", &t.Miner), value("Price", &t.Price), unsigned("SeqNo", &t.SeqNo),
		epoch("Expiry", &t.Expiry), epoch("Timestamp", &t.Timestamp),
		unsigned("MaxPieceSize", &t.MaxPieceSize), unsigned("MinPieceSize", &t.MinPieceSize),
		value("VerifiedPrice", &t.VerifiedPrice)}
}

// MarshalCBOR writes the map form.
func (t *StorageAsk) MarshalCBOR(w io.Writer) error { return writeMap(w, t.fields()) }

// UnmarshalCBOR reads the map form.
func (t *StorageAsk) UnmarshalCBOR(r io.Reader) error {
	*t = StorageAsk{}
	return readMap(r, "StorageAsk", t.fields())
}

// SignedStorageAsk carries the worker key's signature over CBOR(StorageAsk).
type SignedStorageAsk struct {
	Ask       *StorageAsk
	Signature *crypto.Signature
}

func (t *SignedStorageAsk) fields() []field {
	return []field{nullable("Ask", &t.Ask), nullable("Signature", &t.Signature)}
}

// MarshalCBOR writes the map form.
func (t *SignedStorageAsk) MarshalCBOR(w io.Writer) error { return writeMap(w, t.fields()) }

// UnmarshalCBOR reads the map form.
func (t *SignedStorageAsk) UnmarshalCBOR(r io.Reader) error {
	*t = SignedStorageAsk{}
	return readMap(r, "SignedStorageAsk", t.fields())
}

// AskResponse has a nil Ask when the miner is not ours.
type AskResponse struct{ Ask *SignedStorageAsk }

func (t *AskResponse) fields() []field { return []field{nullable("Ask", &t.Ask)} }

// MarshalCBOR writes the map form.
func (t *AskResponse) MarshalCBOR(w io.Writer) error { return writeMap(w, t.fields()) }

// UnmarshalCBOR reads the map form.
func (t *AskResponse) UnmarshalCBOR(r io.Reader) error {
	*t = AskResponse{}
	return readMap(r, "AskResponse", t.fields())
}

// Transfer says how the provider gets the payload. Size is exact bytes; Params
// is JSON TransferParams for type "http".
type Transfer struct {
	Type     string
	ClientID string
	Params   []byte
	Size     uint64
}

func (t *Transfer) fields() []field {
	return []field{unsigned("Size", &t.Size), text("Type", &t.Type), bytesField("Params", &t.Params),
		text("ClientID", &t.ClientID)}
}

// MarshalCBOR writes the map form.
func (t *Transfer) MarshalCBOR(w io.Writer) error { return writeMap(w, t.fields()) }

// UnmarshalCBOR reads the map form.
func (t *Transfer) UnmarshalCBOR(r io.Reader) error {
	*t = Transfer{}
	return readMap(r, "Transfer", t.fields())
}

// TransferParams are the JSON parameters of an "http" transfer.
type TransferParams struct {
	URL     string
	Headers map[string]string `json:",omitempty"`
}

// DealParams is a storage deal proposal, mk/1.2.0 and mk/1.2.1. It is written
// with seven keys; five are enough when read, as mk/1.2.0 clients send them.
type DealParams struct {
	DealUUID           uuid.UUID
	IsOffline          bool
	ClientDealProposal market.ClientDealProposal
	DealDataRoot       cid.Cid
	Transfer           Transfer
	SkipIPNIAnnounce   bool
	RemoveUnsealedCopy bool
}

func (t *DealParams) fields() []field {
	return []field{uuidField("DealUUID", &t.DealUUID), value("Transfer", &t.Transfer),
		boolean("IsOffline", &t.IsOffline), cidField("DealDataRoot", &t.DealDataRoot),
		optional(boolean("SkipIPNIAnnounce", &t.SkipIPNIAnnounce)),
		value("ClientDealProposal", &t.ClientDealProposal),
		optional(boolean("RemoveUnsealedCopy", &t.RemoveUnsealedCopy))}
}

// MarshalCBOR writes the map form.
func (t *DealParams) MarshalCBOR(w io.Writer) error { return writeMap(w, t.fields()) }

// UnmarshalCBOR reads the map form.
func (t *DealParams) UnmarshalCBOR(r io.Reader) error {
	*t = DealParams{}
	return readMap(r, "DealParams", t.fields())
}

// DealResponse answers a proposal; Message is the reason of a refusal.
type DealResponse struct {
	Accepted bool
	Message  string
}

func (t *DealResponse) fields() []field {
	return []field{text("Message", &t.Message), boolean("Accepted", &t.Accepted)}
}

// MarshalCBOR writes the map form.
func (t *DealResponse) MarshalCBOR(w io.Writer) error { return writeMap(w, t.fields()) }

// UnmarshalCBOR reads the map form.
func (t *DealResponse) UnmarshalCBOR(r io.Reader) error {
	*t = DealResponse{}
	return readMap(r, "DealResponse", t.fields())
}

// DealStatusRequest carries the client's signature over the 16 UUID bytes.
type DealStatusRequest struct {
	DealUUID  uuid.UUID
	Signature crypto.Signature
}

func (t *DealStatusRequest) fields() []field {
	return []field{uuidField("DealUUID", &t.DealUUID), signature("Signature", &t.Signature)}
}

// MarshalCBOR writes the map form.
func (t *DealStatusRequest) MarshalCBOR(w io.Writer) error { return writeMap(w, t.fields()) }

// UnmarshalCBOR reads the map form.
func (t *DealStatusRequest) UnmarshalCBOR(r io.Reader) error {
	*t = DealStatusRequest{}
	return readMap(r, "DealStatusRequest", t.fields())
}

// DealStatus is where a deal stands. Status is the checkpoint's name.
type DealStatus struct {
	Error             string
	Status            string
	SealingStatus     string
	Proposal          market.DealProposal
	SignedProposalCid cid.Cid
	PublishCid        *cid.Cid
	ChainDealID       abi.DealID
}

func (t *DealStatus) fields() []field {
	return []field{text("Error", &t.Error), text("Status", &t.Status), value("Proposal", &t.Proposal),
		nullableCid("PublishCid", &t.PublishCid), unsigned("ChainDealID", &t.ChainDealID),
		text("SealingStatus", &t.SealingStatus), cidField("SignedProposalCid", &t.SignedProposalCid)}
}

// MarshalCBOR writes the map form.
func (t *DealStatus) MarshalCBOR(w io.Writer) error { return writeMap(w, t.fields()) }

// UnmarshalCBOR reads the map form.
func (t *DealStatus) UnmarshalCBOR(r io.Reader) error {
	*t = DealStatus{}
	return readMap(r, "DealStatus", t.fields())
}

// DealStatusResponse has a nil DealStatus when Error is set.
type DealStatusResponse struct {
	DealUUID       uuid.UUID
	Error          string
	DealStatus     *DealStatus
	IsOffline      bool
	TransferSize   uint64
	NBytesReceived uint64
}

func (t *DealStatusResponse) fields() []field {
	return []field{text("Error", &t.Error), uuidField("DealUUID", &t.DealUUID), boolean("IsOffline", &t.IsOffline),
		nullable("DealStatus", &t.DealStatus), unsigned("TransferSize", &t.TransferSize),
		unsigned("NBytesReceived", &t.NBytesReceived)}
}

// MarshalCBOR writes the map form.
func (t *DealStatusResponse) MarshalCBOR(w io.Writer) error { return writeMap(w, t.fields()) }

// UnmarshalCBOR reads the map form.
func (t *DealStatusResponse) UnmarshalCBOR(r io.Reader) error {
	*t = DealStatusResponse{}
	return readMap(r, "DealStatusResponse", t.fields())
}
