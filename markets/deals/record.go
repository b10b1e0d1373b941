package deals

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"quarry/api"
	"quarry/markets/wire"
)

// Bounds of what a deal's record says of its history: errors come from outside,
// and a deal may be tried for months.
const (
	maxLog  = 200     // lines that are kept; the oldest go first
	maxLine = 2 << 10 // bytes of one, and of an error
)

// Record is a deal as it is stored. The proposal is kept as the client's CBOR,
// because its JSON form cannot hold every label.
type Record struct {
	UUID           api.UUID
	SignedCid      cid.Cid
	SignedProposal []byte // CBOR of market.ClientDealProposal
	ClientPeer     string
	PayloadRoot    cid.Cid
	TransferURL    string
	Headers        map[string]string `json:",omitempty"` // secret
	TransferSize   uint64            // bytes
	SkipAnnounce   bool
	RemoveUnsealed bool

	Checkpoint   api.DealCheckpoint
	Retry        api.DealRetry
	Err          string
	Fault        api.Fault `json:",omitempty"` // whose trouble Err is
	Received     uint64    // bytes
	StagedToken  string    // bearer for this deal's staged bytes; secret
	VerifiedSize uint64    // payload size whose commitment was found right
	PublishCid   *cid.Cid
	Confirmed    bool // ChainDealID is that of the published deal
	ChainDealID  abi.DealID
	Attempt      int // placements that were given up
	Placement    *api.PiecePlacement
	SealingState api.SectorState
	Active       bool
	SectorStart  abi.ChainEpoch // -1 until active
	Created      time.Time
	Updated      time.Time
	IndexNote    string `json:",omitempty"` // what of the payload cannot be retrieved, and why
	Log          []api.DealLogEntry
}

// newRecord fills a record from a proposal that was accepted.
func newRecord(p *wire.DealParams, tp wire.TransferParams, from, token string, now time.Time) (*Record, error) {
	var buf bytes.Buffer
	if err := p.ClientDealProposal.MarshalCBOR(&buf); err != nil {
		return nil, fmt.Errorf("encode proposal: %w", err)
	}
	signed, err := SignedProposalCid(buf.Bytes())
	if err != nil {
		return nil, err
	}
	return &Record{
		UUID:           p.DealUUID,
		SignedCid:      signed,
		SignedProposal: buf.Bytes(),
		ClientPeer:     from,
		PayloadRoot:    p.DealDataRoot,
		TransferURL:    tp.URL,
		Headers:        tp.Headers,
		TransferSize:   p.Transfer.Size,
		SkipAnnounce:   p.SkipIPNIAnnounce,
		RemoveUnsealed: p.RemoveUnsealedCopy,
		StagedToken:    token,
		Checkpoint:     api.DealAccepted,
		Retry:          api.DealRetryAuto,
		SectorStart:    -1,
		Created:        now,
		Updated:        now,
	}, nil
}

// SignedProposalCid is the key of a deal off chain: CIDv1, dag-cbor, sha2-256,
// over the CBOR of ClientDealProposal.
func SignedProposalCid(cbor []byte) (cid.Cid, error) {
	return cid.V1Builder{Codec: cid.DagCBOR, MhType: multihash.SHA2_256}.Sum(cbor)
}

// Proposal decodes the client's proposal.
func (r *Record) Proposal() (market.ClientDealProposal, error) {
	var p market.ClientDealProposal
	if err := p.UnmarshalCBOR(bytes.NewReader(r.SignedProposal)); err != nil {
		return p, fmt.Errorf("stored proposal of deal %s: %w", r.UUID, err)
	}
	return p, nil
}

// Final tells whether nothing more will happen to the deal by itself.
func (r *Record) Final() bool { return r.Checkpoint == api.DealComplete }

// onChain tells whether the chain has given the deal its number. Records of
// earlier versions say so by their checkpoint alone.
func (r *Record) onChain() bool {
	switch r.Checkpoint {
	case api.DealPublishConfirmed, api.DealAddedPiece, api.DealIndexed:
		return true
	}
	return r.Confirmed || r.Active
}

// placeKey names an attempt to place the piece. Each has a key of its own, so
// that one that was given up can never come back as the other.
func (r *Record) placeKey(attempt int) string {
	if attempt == 0 {
		return r.UUID.String()
	}
	return fmt.Sprintf("%s/%d", r.UUID, attempt)
}

// clone is a copy that may be changed. It shares the lines of the log, which are
// never changed: a new one is appended to a copy of the list.
func (r *Record) clone() *Record {
	c := *r
	c.Log = slices.Clip(r.Log)
	return &c
}

func (r *Record) logf(now time.Time, format string, args ...any) {
	r.Log = append(r.Log, api.DealLogEntry{Time: now, Message: bounded(fmt.Sprintf(format, args...))})
	if n := len(r.Log) - maxLog; n > 0 {
		r.Log = slices.Clone(r.Log[n:])
	}
}

// bounded cuts a text that is too long for a record.
func bounded(s string) string {
	if len(s) <= maxLine {
		return s
	}
	return strings.ToValidUTF8(s[:maxLine], "") + " ..."
}

// Info is the record in its API form; secrets stay behind.
func (r *Record) Info(log bool) (api.DealInfo, error) {
	p, err := r.Proposal()
	if err != nil {
		return api.DealInfo{}, err
	}
	out := r.info()
	out.Proposal = p.Proposal
	if log {
		out.Log = slices.Clone(r.Log)
	}
	return out, nil
}

// info is Info without the proposal and the log.
func (r *Record) info() api.DealInfo {
	return api.DealInfo{
		UUID:              r.UUID,
		SignedProposalCid: r.SignedCid,
		ClientPeer:        r.ClientPeer,
		PayloadRoot:       r.PayloadRoot,
		TransferURL:       withoutSecrets(r.TransferURL),
		TransferSize:      r.TransferSize,
		Received:          r.Received,
		Checkpoint:        r.Checkpoint,
		Retry:             r.Retry,
		Err:               r.Err,
		Fault:             r.Fault,
		PublishCid:        r.PublishCid,
		OnChain:           r.onChain(),
		ChainDealID:       r.ChainDealID,
		Attempt:           r.Attempt,
		Placement:         r.Placement,
		SealingState:      r.SealingState,
		OnChainActive:     r.Active,
		SectorStartEpoch:  r.SectorStart,
		FastRetrieval:     !r.RemoveUnsealed,
		Created:           r.Created,
		Updated:           r.Updated,
		IndexNote:         r.IndexNote,
	}
}

// withoutSecrets is a URL less what lets its bearer in: who reads of a deal may
// not fetch its payload in the client's name.
func withoutSecrets(from string) string {
	u, err := url.Parse(from)
	if err != nil {
		return "a URL that cannot be read"
	}
	u.User = nil
	if u.RawQuery != "" {
		u.RawQuery = "..."
	}
	return u.String()
}

func decodeRecord(b []byte) (*Record, error) {
	var r Record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	return &r, nil
}
