package sealing

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"quarry/api"
)

// piece is one piece of a sector's plan, in order of offset. Filler has no key.
type piece struct {
	Seq    uint64 // never reused within the sector; part of the task key
	Info   abi.PieceInfo
	Offset abi.PaddedPieceSize
	Key    string             `json:",omitempty"`
	Deal   *api.PieceDealInfo `json:",omitempty"`
	Data   api.DataRef        // forgotten once placed
	Placed bool               // the bytes are in the unsealed file
}

func (p piece) filler() bool { return p.Key == "" }

// record is all that is remembered of a sector. It is stored whole, as JSON,
// under its number, so that every transition is one atomic write.
type record struct {
	Number    abi.SectorNumber
	ProofType abi.RegisteredSealProof
	State     api.SectorState
	CC        bool // no data: zeros only, no unsealed file

	Pieces         []piece        `json:",omitempty"`
	NextSeq        uint64         // of the next planned piece
	FirstPiece     abi.ChainEpoch // when the first piece was planned
	StartRequested bool           // pack now, whatever else

	TicketEpoch abi.ChainEpoch
	Ticket      []byte              `json:",omitempty"`
	PC1Out      api.PreCommit1Out   `json:",omitzero"`
	CommD       *cid.Cid            `json:",omitempty"`
	CommR       *cid.Cid            `json:",omitempty"`
	Commitments api.SealCommitments `json:",omitzero"`

	Expiration     abi.ChainEpoch
	PreCommitMsg   *cid.Cid `json:",omitempty"`
	PreCommitEpoch abi.ChainEpoch
	SeedEpoch      abi.ChainEpoch
	Seed           []byte   `json:",omitempty"`
	Proof          []byte   `json:",omitempty"` // the proof field of the commitment
	CommitMsg      *cid.Cid `json:",omitempty"`
	CommitIndex    uint64   `json:",omitempty"` // place within that message
	Alone          bool     `json:",omitempty"` // the next message is the sector's own: one with others was refused

	Update *replicaUpdate `json:",omitempty"` // that is under way or has been done
	Rounds int            `json:",omitempty"` // updates begun

	GivenUp []givenUp `json:",omitempty"` // pieces whose place in this sector is no more

	Attempts   map[job]int `json:",omitempty"` // failed tries
	Missing    time.Time   `json:",omitzero"`  // since when files that are needed are on no path
	Resealed   int         `json:",omitempty"` // how often it was sealed again for lost files
	FailedFrom api.SectorState
	Retries    int
	LastErr    string
	NextRetry  time.Time
	TaskID     *api.UUID  `json:",omitempty"` // the task in progress
	Tasks      []api.UUID `json:",omitempty"` // tasks whose results are still kept

	Created, Updated time.Time
	Log              []api.SectorLogEntry `json:",omitempty"`
}

// maxLog bounds the kept history of a sector, in lines.
const maxLog = 200

// clone copies what apply may change, so that apply stays pure.
func (r record) clone() record {
	r.Pieces = slices.Clone(r.Pieces)
	r.Attempts = maps.Clone(r.Attempts)
	if r.Update != nil {
		u := *r.Update
		r.Update = &u
	}
	r.Tasks = slices.Clone(r.Tasks)
	r.GivenUp = slices.Clone(r.GivenUp)
	r.Log = slices.Clone(r.Log)
	return r
}

func (r *record) note(now time.Time, msg string) {
	r.Log = append(r.Log, api.SectorLogEntry{Time: now, State: r.State, Message: msg})
	if n := len(r.Log) - maxLog; n > 0 {
		r.Log = slices.Delete(r.Log, 0, n)
	}
}

// end is the first free byte after the plan, padded.
func (r *record) end() abi.PaddedPieceSize {
	if len(r.Pieces) == 0 {
		return 0
	}
	last := r.Pieces[len(r.Pieces)-1]
	return last.Offset + last.Info.Size
}

func (r *record) unplaced() int {
	return slices.IndexFunc(r.Pieces, func(p piece) bool { return !p.Placed })
}

func (r *record) deals() int {
	n := 0
	for _, p := range r.Pieces {
		if !p.filler() {
			n++
		}
	}
	return n
}

func (r *record) infos() []abi.PieceInfo {
	out := make([]abi.PieceInfo, len(r.Pieces))
	for i, p := range r.Pieces {
		out[i] = p.Info
	}
	return out
}

// dealSpan is the earliest start and the latest end of the sector's deals.
func (r *record) dealSpan() (start, end abi.ChainEpoch, any bool) {
	for _, p := range r.Pieces {
		if p.Deal == nil {
			continue
		}
		if !any || p.Deal.StartEpoch < start {
			start = p.Deal.StartEpoch
		}
		end, any = max(end, p.Deal.EndEpoch), true
	}
	return start, end, any
}

func (r *record) keepUnsealed(always bool) bool {
	if r.CC {
		return false
	}
	return always || slices.ContainsFunc(r.Pieces, func(p piece) bool { return p.Deal != nil && p.Deal.KeepUnsealed })
}

// store keeps records. Every put is synced before it returns.
type store struct{ ds datastore.Batching }

var sectorsPrefix = datastore.NewKey("/sectors")

func (s store) put(ctx context.Context, r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode sector %d: %w", r.Number, err)
	}
	k := sectorsPrefix.ChildString(strconv.FormatUint(uint64(r.Number), 10))
	if err := s.ds.Put(ctx, k, b); err != nil {
		return fmt.Errorf("store sector %d: %w", r.Number, err)
	}
	if err := s.ds.Sync(ctx, k); err != nil {
		return fmt.Errorf("sync sector %d: %w", r.Number, err)
	}
	return nil
}

// all reads every record. Those that cannot be read are poisoned: the reason is
// told by their number.
func (s store) all(ctx context.Context) (out []record, poisoned map[abi.SectorNumber]poison, err error) {
	res, err := s.ds.Query(ctx, query.Query{Prefix: sectorsPrefix.String()})
	if err != nil {
		return nil, nil, fmt.Errorf("list stored sectors: %w", err)
	}
	entries, err := res.Rest()
	if err != nil {
		return nil, nil, fmt.Errorf("list stored sectors: %w", err)
	}
	poisoned = map[abi.SectorNumber]poison{}
	for _, e := range entries {
		n, err := strconv.ParseUint(datastore.RawKey(e.Key).Name(), 10, 63)
		if err != nil {
			return nil, nil, fmt.Errorf("stored sector %s has no number: %w", e.Key, err) // nothing of ours writes that
		}
		r, err := decodeRecord(abi.SectorNumber(n), e.Value)
		if err != nil {
			poisoned[abi.SectorNumber(n)] = poison{raw: e.Value, why: err}
			continue
		}
		out = append(out, r)
	}
	return out, poisoned, nil
}

func decodeRecord(n abi.SectorNumber, b []byte) (r record, err error) {
	if err := json.Unmarshal(b, &r); err != nil {
		return r, err
	}
	if r.Number != n {
		return r, fmt.Errorf("it is the record of sector %d", r.Number)
	}
	if _, known := machine[r.State]; !known {
		return r, fmt.Errorf("its state %q is none of this release", r.State)
	}
	return r, nil
}
