package deals

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/ipfs/go-datastore"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/markets/wire"
)

// storeOf is a store of n deals, one a second, each with a full log; change says
// how the i-th differs.
func storeOf(tb testing.TB, n int, change func(i int, r *Record)) *Store {
	tb.Helper()
	f := good(tb)
	f.sign(tb)
	like, err := newRecord(&f.params, wire.TransferParams{URL: "http://x"}, "peer", "token", time.Unix(1e9, 0))
	require.NoError(tb, err)
	for i := range maxLog {
		like.logf(like.Created, "line %d", i)
	}
	s, err := OpenStore(context.Background(), memory())
	require.NoError(tb, err)
	for i := range n {
		r := *like
		r.UUID, r.Created = uuid.New(), like.Created.Add(time.Duration(i)*time.Second)
		if change != nil {
			change(i, &r)
		}
		w := &row{rec: &r, received: r.Received}
		s.byAge = append(s.byAge, w)
		s.note(w)
	}
	return s
}

// walk reads every page of a query and calls f with each.
func walk(tb testing.TB, s *Store, q api.DealQuery, f func(api.DealPage)) {
	tb.Helper()
	for {
		page, err := s.Page(q)
		require.NoError(tb, err)
		f(page)
		if q.Cursor = page.Next; q.Cursor == "" {
			return
		}
	}
}

// What a page costs those who wait for the store does not grow with the number of
// deals, nor with how far on the page is: a walk looks once at each.
func TestPageLooksAtItsOwnDealsOnly(t *testing.T) {
	for _, n := range []int{999, 1000, 1001, 10_000} {
		s := storeOf(t, n, nil)
		pages, deals := 0, 0
		walk(t, s, api.DealQuery{Limit: 1000}, func(p api.DealPage) {
			pages++
			deals += len(p.Deals)
			require.LessOrEqual(t, s.touched, uint64(pages*1000))
		})
		require.Equal(t, n, deals)
		require.EqualValues(t, n, s.touched)
		require.Equal(t, (n+999)/1000, pages)
	}
}

// A page holds at most a thousand deals, and looks at ten thousand at most where
// few are wanted.
func TestBoundsOfAPage(t *testing.T) {
	s := storeOf(t, maxLook+2, func(i int, r *Record) {
		if i <= 1 {
			r.Err = "trouble"
		}
	})
	for _, limit := range []int{0, -1, maxPage, maxPage + 1, 1 << 40} {
		page, err := s.Page(api.DealQuery{Limit: limit})
		require.NoError(t, err)
		require.Len(t, page.Deals, maxPage, "limit %d", limit)
	}
	page, err := s.Page(api.DealQuery{Limit: maxPage - 1})
	require.NoError(t, err)
	require.Len(t, page.Deals, maxPage-1)
	s.touched = 0
	page, err = s.Page(api.DealQuery{Failed: true})
	require.NoError(t, err)
	require.Empty(t, page.Deals, "those wanted lie farther on")
	require.NotNil(t, page.Deals, "an empty list, not null")
	require.Equal(t, s.byAge[2].rec.UUID.String(), page.Next)
	require.EqualValues(t, maxLook, s.touched)
	page, err = s.Page(api.DealQuery{Failed: true, Cursor: page.Next})
	require.NoError(t, err)
	require.Len(t, page.Deals, 2)
	require.Empty(t, page.Next)
}

// Deals are picked by checkpoint, class of retry and trouble.
func TestDealsArePicked(t *testing.T) {
	rows := []Record{
		{Checkpoint: api.DealAccepted, Retry: api.DealRetryAuto},
		{Checkpoint: api.DealTransferred, Retry: api.DealRetryManual, Err: "refused"},
		{Checkpoint: api.DealTransferred, Retry: api.DealRetryAuto, Err: "busy"},
		{Checkpoint: api.DealComplete, Retry: api.DealRetryFatal, Err: "late"},
		{Checkpoint: api.DealComplete, Retry: api.DealRetryAuto},
	}
	s := storeOf(t, len(rows), func(i int, r *Record) { r.Checkpoint, r.Retry, r.Err = rows[i].Checkpoint, rows[i].Retry, rows[i].Err })
	for _, c := range []struct {
		q    api.DealQuery
		want string
	}{
		{api.DealQuery{}, "43210"},
		{api.DealQuery{Checkpoints: []api.DealCheckpoint{api.DealTransferred}}, "21"},
		{api.DealQuery{Checkpoints: []api.DealCheckpoint{api.DealComplete, api.DealAccepted}}, "430"},
		{api.DealQuery{Retry: api.DealRetryAuto}, "420"},
		{api.DealQuery{Failed: true}, "321"},
		{api.DealQuery{Failed: true, Retry: api.DealRetryAuto, Checkpoints: []api.DealCheckpoint{api.DealTransferred}}, "2"},
		{api.DealQuery{Retry: "never"}, ""},
	} {
		for limit := range 6 {
			c.q.Limit = limit
			got := ""
			walk(t, s, c.q, func(p api.DealPage) {
				for _, d := range p.Deals {
					got += fmt.Sprint(d.Created.Unix() - 1e9)
				}
			})
			require.Equal(t, c.want, got, "%+v", c.q)
		}
	}
	require.Equal(t, map[api.DealCheckpoint]int{api.DealAccepted: 1, api.DealTransferred: 2, api.DealComplete: 2}, s.Count())
}

// stuck is a datastore whose writes wait.
type stuck struct {
	datastore.Batching
	begun, go_ chan struct{}
}

func (s stuck) Sync(context.Context, datastore.Key) error {
	s.begun <- struct{}{}
	<-s.go_
	return nil
}

// While a write waits for the disk, deals are listed, read, counted and their
// transfers go on, and other deals are written too; of the deal itself the old
// state is shown until the new one is on the disk.
func TestAWriteHoldsUpNobody(t *testing.T) {
	s := storeOf(t, 2, nil)
	ds := stuck{Batching: memory(), begun: make(chan struct{}), go_: make(chan struct{})}
	s.ds = ds
	ended := make(chan error, 3)
	a, b := s.byAge[0].rec.UUID, s.byAge[1].rec.UUID
	for _, id := range []api.UUID{a, b} {
		go func() {
			_, err := s.Update(context.Background(), id, func(r *Record) { r.Err = "new" })
			ended <- err
		}()
		<-ds.begun
	}
	f := good(t)
	f.sign(t)
	fresh, err := newRecord(&f.params, wire.TransferParams{}, "peer", "token", time.Now())
	require.NoError(t, err)
	fresh.SignedCid = rootCid
	go func() { ended <- s.Insert(context.Background(), fresh) }()
	<-ds.begun
	page, err := s.Page(api.DealQuery{})
	require.NoError(t, err)
	require.Len(t, page.Deals, 2)
	require.Empty(t, page.Deals[0].Err+page.Deals[1].Err)
	require.Len(t, s.List(), 2)
	require.Equal(t, 2, s.Count()[api.DealAccepted])
	s.progress(a, 77)
	rec, err := s.Get(a)
	require.NoError(t, err)
	require.EqualValues(t, 77, rec.Received)
	close(ds.go_)
	for range 3 {
		require.NoError(t, <-ended)
	}
	rec, err = s.Get(a)
	require.NoError(t, err)
	require.Equal(t, "new", rec.Err)
	require.EqualValues(t, 77, rec.Received, "what came in meanwhile is not forgotten")
	require.Len(t, s.List(), 3)
}

// Bytes that come in, and who asks for a deal, copy nothing of its log; who
// changes a copy changes no other.
func TestReadsShareTheLog(t *testing.T) {
	s := storeOf(t, 1, nil)
	id := s.byAge[0].rec.UUID
	require.Zero(t, testing.AllocsPerRun(100, func() { s.progress(id, 5) }))
	require.EqualValues(t, 1, testing.AllocsPerRun(100, func() { _, _ = s.Get(id) }), "the record itself")
	a, err := s.Get(id)
	require.NoError(t, err)
	b, err := s.Get(id)
	require.NoError(t, err)
	require.Same(t, &a.Log[0], &b.Log[0])
	a.logf(time.Now(), "mine")
	require.Len(t, a.Log, maxLog)
	require.Equal(t, "mine", a.Log[maxLog-1].Message)
	require.Equal(t, "line 1", a.Log[0].Message, "the oldest is gone")
	require.Equal(t, "line 199", b.Log[maxLog-1].Message)
	require.Equal(t, "line 0", s.byAge[0].rec.Log[0].Message)
}

// A history and an error are bounded, whatever comes from outside.
func TestTextsOfARecordAreBounded(t *testing.T) {
	var r Record
	for _, c := range []struct {
		in   string
		want int
	}{{strings.Repeat("x", maxLine), maxLine}, {strings.Repeat("x", maxLine+1), maxLine + 4}, {strings.Repeat("ä", maxLine), maxLine + 4},
		{"x" + strings.Repeat("ä", maxLine), maxLine + 3}} {
		r.logf(time.Now(), "%s", c.in)
		got := r.Log[len(r.Log)-1].Message
		require.Len(t, got, c.want)
		require.True(t, utf8.ValidString(got))
	}
	for range 2 * maxLog {
		r.logf(time.Now(), "%s", strings.Repeat("x", 2*maxLine))
	}
	require.Len(t, r.Log, maxLog)
	b, err := json.Marshal(&r)
	require.NoError(t, err)
	require.Less(t, len(b), 600<<10)
}

// Who reads of a deal learns where its payload comes from, not how to be let in
// there; the transfer itself has it all.
func TestTransferURLIsShownWithoutSecrets(t *testing.T) {
	for from, want := range map[string]string{
		"http://example.com/x.car":                      "http://example.com/x.car",
		"https://u:secret@example.com/x?sig=secret&a=1": "https://example.com/x?...",
		"https://example.com/x?":                        "https://example.com/x?",
		"https://\x7fsecret":                            "a URL that cannot be read",
	} {
		s := storeOf(t, 1, func(_ int, r *Record) { r.TransferURL = from })
		page, err := s.Page(api.DealQuery{})
		require.NoError(t, err)
		require.Equal(t, want, page.Deals[0].TransferURL)
		require.NotContains(t, shown(from), "secret")
		rec, err := s.Get(page.Deals[0].UUID)
		require.NoError(t, err)
		require.Equal(t, from, rec.TransferURL)
	}
}

// One record that cannot be read stops its own deal: it is shown with the reason,
// is never written, keeps its identifier, and the others go on.
func TestRecordThatCannotBeRead(t *testing.T) {
	ctx, ds := context.Background(), memory()
	f := good(t)
	f.sign(t)
	p := f.provider(t, ds)
	require.True(t, p.Propose(ctx, &f.params, "peer").Accepted)
	torn, swapped := uuid.New(), uuid.New()
	other, err := json.Marshal(&Record{UUID: uuid.New()})
	require.NoError(t, err)
	require.NoError(t, ds.Put(ctx, dealKey(torn), []byte("{")))
	require.NoError(t, ds.Put(ctx, dealKey(swapped), other))
	s, err := OpenStore(ctx, ds)
	require.NoError(t, err)
	require.Len(t, s.SetAside(), 2)
	page, err := s.Page(api.DealQuery{})
	require.NoError(t, err)
	require.Len(t, page.Deals, 3)
	require.Equal(t, f.params.DealUUID, page.Deals[0].UUID)
	for _, d := range page.Deals[1:] {
		require.Contains(t, d.Err, "the stored record of deal "+d.UUID.String()+" cannot be read")
		require.Contains(t, d.Err, "restore the store")
		require.Equal(t, api.DealRetryManual, d.Retry, "nothing is tried")
		require.EqualValues(t, -1, d.SectorStartEpoch)
		var invalid *api.ErrInvalid
		_, err := s.Update(ctx, d.UUID, func(r *Record) { r.Err = "" })
		require.ErrorAs(t, err, &invalid)
		require.Contains(t, invalid.Hint, "restore")
		b, err := json.Marshal(d)
		require.NoError(t, err)
		var back api.DealInfo
		require.NoError(t, json.Unmarshal(b, &back), "clients can read it")
	}
	require.ErrorContains(t, s.Insert(ctx, &Record{UUID: torn}), "same uuid")
	raw, err := ds.Get(ctx, dealKey(torn))
	require.NoError(t, err)
	require.Equal(t, "{", string(raw))
}

// Those that are over are not looked at when a proposal is judged.
func TestChecksSeeOpenDealsOnly(t *testing.T) {
	s := storeOf(t, 100, func(i int, r *Record) {
		if i >= 3 {
			r.Checkpoint = api.DealComplete
		}
	})
	see := func(want int) {
		t.Helper()
		seen := -1
		err := s.Insert(context.Background(), &Record{UUID: uuid.New()}, func(live []*Record) error {
			seen = len(live)
			return refuse("enough")
		})
		require.EqualError(t, err, "enough")
		require.Equal(t, want, seen)
	}
	see(3)
	require.EqualValues(t, 3, s.touched)
	_, err := s.Update(context.Background(), s.byAge[0].rec.UUID, func(r *Record) { r.Checkpoint = api.DealComplete })
	require.NoError(t, err)
	see(2)
}

func BenchmarkDealPages(b *testing.B) {
	for _, n := range []int{10_000, 30_000} {
		s := storeOf(b, n, nil)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				walk(b, s, api.DealQuery{Limit: 500}, func(api.DealPage) {})
			}
		})
	}
}
