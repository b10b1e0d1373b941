package apitest

import (
	"context"
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// oneTask has one task, with secrets in what goes in and in what came out.
type oneTask struct{ api.Storage }

func (oneTask) TaskGet(_ context.Context, id api.UUID) (api.TaskStatus, error) {
	return api.TaskStatus{
		ID:     id,
		State:  api.TaskDone,
		Spec:   api.TaskSpec{Key: "k", Params: json.RawMessage(`{"Token":"secret"}`)},
		Result: json.RawMessage(`"secret"`),
	}, nil
}

func (o oneTask) TaskWait(ctx context.Context, id api.UUID) (api.TaskStatus, error) {
	return o.TaskGet(ctx, id)
}

// Who may only read a task is told how it stands, over each transport; who has
// tasks done gets all of it.
func TestReaderOfATaskSeesNoSecrets(t *testing.T) {
	s := Serve(t, Parts{Storage: oneTask{}})
	for token, c := range map[string]struct {
		perms []api.Permission
		all   bool
	}{
		"r.e.ad":   {[]api.Permission{api.PermRead}, false},
		"w.o.rker": {[]api.Permission{api.PermRead, api.PermStorageRead, api.PermWorker}, false},
		"t.as.ks":  {[]api.Permission{api.PermRead, api.PermTasks}, true},
		"a.d.min2": {[]api.Permission{api.PermAdmin}, true},
	} {
		s.Tokens.Set(token, c.perms...)
		for way, m := range map[string]api.Tasks{"http": s.Miner(t, token), "websocket": s.Socket(t, token)} {
			for name, get := range map[string]func(context.Context, api.UUID) (api.TaskStatus, error){"get": m.TaskGet,
				"wait": m.TaskWait} {
				st, err := get(t.Context(), uuid.New())
				require.NoError(t, err, "%s %s by %s", name, way, token)
				require.Equal(t, "k", st.Spec.Key)
				require.Equal(t, api.TaskDone, st.State)
				b, err := json.Marshal(st)
				require.NoError(t, err)
				if c.all {
					require.JSONEq(t, `{"Token":"secret"}`, string(st.Spec.Params))
					require.JSONEq(t, `"secret"`, string(st.Result))
				} else {
					require.NotContains(t, string(b), "secret", "%s %s by %s", name, way, token)
				}
			}
		}
	}
}

// manyDeals has n deals, in pages.
type manyDeals struct {
	api.Markets
	n    int
	deal api.DealInfo
}

func (m manyDeals) DealsQuery(_ context.Context, q api.DealQuery) (p api.DealPage, err error) {
	from := 0
	if q.Cursor != "" {
		if from, err = strconv.Atoi(q.Cursor); err != nil {
			return p, err
		}
	}
	for to := min(from+q.Limit, m.n); from < to; from++ {
		p.Deals = append(p.Deals, m.deal)
	}
	if from < m.n {
		p.Next = strconv.Itoa(from)
	}
	return p, nil
}

// BenchmarkDealsOverRPC reads a whole list as the command line does.
func BenchmarkDealsOverRPC(b *testing.B) {
	a, err := address.NewIDAddress(1000)
	require.NoError(b, err)
	c, err := cid.Decode("baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq")
	require.NoError(b, err)
	deal := api.DealInfo{
		UUID:              uuid.New(),
		SignedProposalCid: c,
		PayloadRoot:       c,
		TransferURL:       "http://example.com/x.car",
		Placement:         &api.PiecePlacement{},
		Created:           time.Now(),
		Proposal: market.DealProposal{
			PieceCID:             c,
			PieceSize:            32 << 30,
			Client:               a,
			Provider:             a,
			StoragePricePerEpoch: big.NewInt(1),
			ProviderCollateral:   big.NewInt(1),
			ClientCollateral:     big.Zero(),
		},
	}
	for _, n := range []int{10_000, 30_000} {
		m := Serve(b, Parts{Markets: manyDeals{n: n, deal: deal}}).Miner(b, AdminToken)
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				for q := (api.DealQuery{Limit: 500}); ; {
					page, err := m.DealsQuery(b.Context(), q)
					require.NoError(b, err)
					if q.Cursor = page.Next; q.Cursor == "" {
						break
					}
				}
			}
		})
	}
}
