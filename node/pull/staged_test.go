package pull

import (
	"context"
	"errors"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// The data of a deal is fetched from the markets node of the config, whatever the
// message names.
func TestStagedFrom(t *testing.T) {
	const id = "00000000-0000-4000-8000-00000000abcd"
	var got []string
	var inner api.SealingStruct
	inner.Internal.SectorAddPiece = func(_ context.Context, r api.AddPieceRequest) (api.PiecePlacement, error) {
		got = append(got, r.Data.URL)
		return api.PiecePlacement{Offset: 5}, nil
	}
	inner.Internal.SectorPlacement = func(context.Context, string) (api.PiecePlacement, error) { return api.PiecePlacement{}, errTest }
	s := StagedFrom("https://markets.example/sub/", &inner)
	for _, u := range []string{"http://10.0.0.1:9/staged/" + id, "https://markets.example/other/staged/" + id, "/staged/" + id, ""} {
		at, err := s.SectorAddPiece(t.Context(), api.AddPieceRequest{Data: api.DataRef{URL: u}})
		require.NoError(t, err)
		require.Equal(t, abi.PaddedPieceSize(5), at.Offset)
	}
	const want = "https://markets.example/sub/staged/" + id
	require.Equal(t, []string{want, want, want, ""}, got)
	for _, u := range []string{
		"http://169.254.169.254/latest/meta-data", "http://x/staged/", "http://x/staged/" + id + "/..",
		"http://x/staged/" + id + "?x=1",
		"http://x/staged/" + id + "#x", "http://u@x/staged/" + id,
		"http://x/staged/..%2f..%2f" + id, "http://x/staged/" + id[1:], "://", "file:///etc/passwd",
	} {
		_, err := s.SectorAddPiece(t.Context(), api.AddPieceRequest{Data: api.DataRef{URL: u}})
		var invalid *api.ErrInvalid
		require.ErrorAs(t, err, &invalid, u)
	}
	require.Len(t, got, 4)
	_, err := s.SectorPlacement(t.Context(), "key")
	require.True(t, errors.Is(err, errTest))
}
