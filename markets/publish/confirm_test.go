package publish

import (
	"bytes"
	"context"
	"encoding/hex"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestConfirm(t *testing.T) {
	n := newNode()
	p := run(t, n, store(), Config{Period: 1000, MaxDeals: 3})
	ids := map[string]uuid.UUID{"a": uuid.New(), "dropped": uuid.New(), "c": uuid.New()}
	out := make(chan outcome, 3)
	for l, id := range ids {
		go func() {
			c, err := p.Publish(context.Background(), id, signed(t, l))
			out <- outcome{id, c, err}
		}()
	}
	c := (<-out).cid
	<-out
	<-out
	for l, id := range ids {
		final, deal, err := p.Confirm(context.Background(), id, signed(t, l), c)
		if l == "dropped" {
			var d *DroppedError
			require.ErrorAs(t, err, &d)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c, final)
		got, _ := n.deals[deal].Proposal.Label.ToString()
		require.Equal(t, l, got)
	}
}

func TestMatchDealVector(t *testing.T) {
	ret, _ := hex.DecodeString("82820506413c") // ids 5,6 for inputs 0,2
	var params market.PublishStorageDealsParams
	var all [][]byte
	for _, l := range []string{"x", "y", "z"} {
		s := signed(t, l)
		var cdp market.ClientDealProposal
		require.NoError(t, cdp.UnmarshalCBOR(bytes.NewReader(s)))
		params.Deals, all = append(params.Deals, cdp), append(all, s)
	}
	var buf bytes.Buffer
	require.NoError(t, params.MarshalCBOR(&buf))
	for i, want := range []abi.DealID{5, 0, 6} {
		got, err := MatchDeal(buf.Bytes(), ret, all[i])
		if want == 0 {
			require.ErrorContains(t, err, "invalid at publication")
			continue
		}
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := MatchDeal(buf.Bytes(), ret, signed(t, "foreign"))
	require.ErrorContains(t, err, "not in the message")
}

func FuzzMatchDeal(f *testing.F) {
	ret, _ := hex.DecodeString("82820506413c")
	f.Add([]byte{0x81, 0x80}, ret)
	s := signed(f, "a")
	f.Fuzz(func(t *testing.T, params, ret []byte) { _, _ = MatchDeal(params, ret, s) })
}
