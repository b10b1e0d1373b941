package pull

import (
	"context"
	"net/url"
	"regexp"
	"strings"

	"quarry/api"
)

// stagedSealing is sealing as the markets node may use it over the link: the data
// of a deal comes from the markets node of the config, wherever a message says.
type stagedSealing struct {
	api.Sealing
	base string
}

// StagedFrom gives sealing that fetches pieces only from base, the http(s) URL of
// the markets node's API.
func StagedFrom(base string, sealing api.Sealing) api.Sealing {
	return &stagedSealing{Sealing: sealing, base: base}
}

// stagedPath ends the path of a deal's data: that of its UUID.
var stagedPath = regexp.MustCompile(`/staged/([0-9a-fA-F-]{36})$`)

// SectorAddPiece implements api.Sealing.
func (s *stagedSealing) SectorAddPiece(ctx context.Context, r api.AddPieceRequest) (api.PiecePlacement, error) {
	if r.Data.URL != "" {
		at, err := s.staged(r.Data.URL)
		if err != nil {
			return api.PiecePlacement{}, err
		}
		r.Data.URL = at
	}
	return s.Sealing.SectorAddPiece(ctx, r)
}

func (s *stagedSealing) staged(named string) (string, error) {
	u, err := url.Parse(named)
	if err == nil && u.RawQuery == "" && u.Fragment == "" && u.User == nil {
		if m := stagedPath.FindStringSubmatch(u.Path); m != nil {
			return strings.TrimSuffix(s.base, "/") + "/staged/" + m[1], nil
		}
	}
	return "", &api.ErrInvalid{
		What:   "place of a piece's data",
		Reason: "it is no deal's data on the markets node",
		Hint:   "run the same release on both nodes",
	}
}
