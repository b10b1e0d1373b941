package node

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// servedSealing is sealing as other processes see it: a caller gets no more out of
// an answer, and puts no more into a request, than its permissions say.
type servedSealing struct{ api.Sealing }

// SectorsStatus tells a caller that may not read what is on chain anyway and how
// far the sector is: the rest names hosts, paths and tasks.
func (s servedSealing) SectorsStatus(ctx context.Context, n abi.SectorNumber, log bool) (api.SectorInfo, error) {
	c, outside := api.CallerOf(ctx)
	whole := !outside || c.May(api.PermRead)
	info, err := s.Sealing.SectorsStatus(ctx, n, log && whole)
	if err != nil || whole {
		return info, err
	}
	return api.SectorInfo{
		Sector:         info.Sector,
		State:          info.State,
		CommD:          info.CommD,
		CommR:          info.CommR,
		UpdateSealed:   info.UpdateSealed,
		UpdateUnsealed: info.UpdateUnsealed,
		Expiration:     info.Expiration,
		Created:        info.Created,
		Updated:        info.Updated,
	}, nil
}

// stagedURL is where a markets node serves the bytes of a deal.
var stagedURL = regexp.MustCompile(`^https?://[^/?#@]+(/[^?#]*)?/staged/[0-9a-fA-F-]{36}$`)

// SectorAddPiece refuses at once what would be read from elsewhere than from where
// pieces are handed over: on a storage path, and, for a markets peer, in the
// network. This node goes where it is sent, and whoever sent it reads back what it
// found out of the sector.
func (s servedSealing) SectorAddPiece(ctx context.Context, r api.AddPieceRequest) (api.PiecePlacement, error) {
	c, outside := api.CallerOf(ctx)
	if outside && !c.May(api.PermAdmin) && r.Data.URL != "" && !stagedURL.MatchString(r.Data.URL) {
		return api.PiecePlacement{}, &api.ErrInvalid{
			What:   "piece data",
			Reason: "its URL is not of the form http(s)://host/staged/<deal>",
			Hint:   "a markets node hands pieces over there",
		}
	}
	if p := r.Data.Path; (r.Data.StorageID != "" || p != "") && (path.Clean(p) != p || !strings.HasPrefix(p, api.SharedDir+"/")) {
		return api.PiecePlacement{}, &api.ErrInvalid{
			What:   "piece data",
			Reason: fmt.Sprintf("%.100q does not lie in the directory %s of a storage path", p, api.SharedDir),
			Hint:   "put it there, or give a URL",
		}
	}
	return s.Sealing.SectorAddPiece(ctx, r)
}
