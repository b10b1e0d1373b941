package api

import (
	"context"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
)

// PushRequest asks for payload of a range of an unsealed file. Offset and Size
// are the range, padded bytes; From and Length are what is wanted of its payload,
// unpadded bytes.
type PushRequest struct {
	ID     string // of the one-time place it is for; empty where Length is 0
	Sector abi.SectorID
	Offset abi.PaddedPieceSize
	Size   abi.PaddedPieceSize
	From   int64
	Length int64 // 0 only asks whether the range can be read
}

// Link is what the private node answers over the link that it opened to its
// markets node, and nowhere else.
type Link interface {
	// SectorPush sends bytes to the one-time place of the markets node that the link
	// goes to, and returns when they were taken there. Errors: *ErrNotFound where no
	// readable copy of the range exists, *ErrBusy, *ErrInvalid.
	SectorPush(ctx context.Context, r PushRequest) error //perm:storage-read
}

// LinkStatus is how the link between the halves stands, in pull mode.
type LinkStatus struct {
	Opens     bool   // this process opens the link; false: it is opened to it
	Peer      string // host:port that it is opened to, or the process that opened it; empty before the first one
	Connected bool
	Since     time.Time // of Connected
	LastError string    `json:",omitempty"` // why it was lost or not opened, the last time
}
