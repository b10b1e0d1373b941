package deals

import (
	"context"
	"errors"
	"testing"

	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/internal/filcrypto"
	"quarry/markets/wire"
)

// ours is an error as parts of this process make them, with all that is nobody's
// business.
var ours = errors.New("open /var/lib/miner/staging/x.payload: dial tcp 10.9.8.7:2345: token eyJhbGciOi.eyJBbGxvdy.c2lnbmF0dXJl refused")

const said = "open <path>: dial tcp <host>: token <token> refused"

// What a client is told of its deal names no path, host or token of ours; the host
// that it named itself stays.
func TestClientsLearnNothingOfThisHost(t *testing.T) {
	f := good(t)
	f.sign(t)
	p := f.provider(t, memory())
	require.True(t, p.Propose(context.Background(), &f.params, "peer").Accepted)
	id := f.params.DealUUID
	sig, err := filcrypto.Sign(crypto.SigTypeSecp256k1, f.private, id[:])
	require.NoError(t, err)
	for text, want := range map[string]string{ours.Error(): said, "example.com: server answered 404; " +
		ours.Error(): "example.com: server answered 404; " + said} {
		_, err := p.deps.Store.Update(context.Background(), id, func(r *Record) { r.Err = text })
		require.NoError(t, err)
		got := p.Status(context.Background(), &wire.DealStatusRequest{DealUUID: id, Signature: *sig})
		require.Equal(t, want, got.DealStatus.Error)
	}
	rec, err := p.deps.Store.Get(id)
	require.NoError(t, err)
	require.Contains(t, rec.Err, "/var/lib/miner", "the operator sees it whole")

	p.deps.Ask = func(context.Context) (api.StorageAskInfo, error) { return api.StorageAskInfo{}, ours }
	resp := p.Propose(context.Background(), &f.params, "peer")
	require.False(t, resp.Accepted)
	require.Contains(t, resp.Message, said)
	require.NotContains(t, resp.Message, "10.9.8.7")
}

func TestHostOfAClient(t *testing.T) {
	for in, want := range map[string]string{"http://h:80/x": "h:80", "": "", "http://%zz": ""} {
		require.Equal(t, want, clientHost(&Record{TransferURL: in}))
	}
}
