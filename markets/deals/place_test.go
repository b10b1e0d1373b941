package deals

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

func gone(why string) error {
	return &api.ErrGivenUp{What: "piece", Sector: "s-t01000-1", Reason: why}
}

// A deal's whole way, undisturbed: the bytes stay until it is active, and go then.
func TestDealGoesItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.open(memory())
		defer w.run(p)()
		id := w.deal(p)
		rec := w.until(p, id, "is indexed", at(api.DealIndexed))
		require.True(t, w.staged(p, id), "the bytes stay until the deal is active")
		require.Equal(t, dealID, rec.ChainDealID)
		require.Equal(t, uint64(len(w.payload)), rec.Received)
		require.Equal(t, api.PiecePlacement{Sector: abi.SectorID{Miner: 1000, Number: 1}, Offset: 128, Size: 1024}, *rec.Placement)
		info, err := rec.Info(false)
		require.NoError(t, err)
		require.True(t, info.OnChain)
		rec = w.untilComplete(p, id)
		require.True(t, rec.Active)
		require.Equal(t, w.active, rec.SectorStart)
		require.Empty(t, rec.Err)
		require.False(t, w.staged(p, id), "and go then")
		require.Len(t, w.adds, 1)
		require.Equal(t, 1, w.calls["Fetch"], "what is here is not fetched again")
		require.Equal(t, id.String(), w.adds[0].Key)
		require.Equal(t, "/staged/"+id.String(), w.adds[0].Data.URL)
		require.Equal(t, rec.StagedToken, w.adds[0].Data.Token)
		require.Equal(t, dealStart, w.adds[0].Deal.StartEpoch)
		require.Equal(t, dealStart+518400, w.adds[0].Deal.EndEpoch)
		require.True(t, w.adds[0].Deal.KeepUnsealed)
		require.Zero(t, w.adds[0].Deal.Attempt)
		w.until(p, id, "has settled", func(r *Record) bool { return r.SealingState == api.SectorProving })
	})
}

// Whatever costs the deal its place, and whenever, it is placed again under a
// key of its own, as often as needed, from the bytes that stayed.
func TestEveryLostPlaceIsFilledAgain(t *testing.T) {
	rows := []struct {
		name  string
		when  api.DealCheckpoint
		after time.Duration // of reaching it
		err   error
		times int
	}{
		{"the update was given up", api.DealIndexed, 5 * epoch, gone("the update was given up"), 1},
		{"abort-upgrade", api.DealIndexed, 0, gone("asked for"), 1},
		{"the sector was removed", api.DealIndexed, 19 * epoch, gone("the sector was removed"), 1},
		{"the sector failed for good", api.DealIndexed, 10 * epoch, gone("the number is lost"), 1},
		{"the sealing node was restored from a backup", api.DealIndexed, 7 * epoch, nil, 1},
		{"three times", api.DealIndexed, 5 * epoch, gone("again"), 3},
		{"before it is indexed", api.DealAddedPiece, 0, gone("at once"), 1},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				p := w.open(memory())
				defer w.run(p)()
				if row.when == api.DealAddedPiece { // held there by an index that cannot be written
					w.fail["AddDeal"] = slices.Repeat([]error{errors.New("disk full")}, 3)
				}
				id := w.deal(p)
				var keys []string
				for n := range row.times {
					r := w.until(p, id, "comes there", func(r *Record) bool { return r.Checkpoint == row.when && r.Attempt == n })
					keys = append(keys, r.placeKey(n))
					time.Sleep(row.after)
					w.lose(r.placeKey(n), row.err)
				}
				rec := w.untilComplete(p, id)
				require.True(t, rec.Active, rec.Err)
				require.Equal(t, row.times, rec.Attempt)
				info, err := rec.Info(true)
				require.NoError(t, err)
				require.Equal(t, row.times, info.Attempt)
				keys = append(keys, fmt.Sprintf("%s/%d", id, row.times))
				require.Len(t, w.adds, row.times+1)
				for i, a := range w.adds {
					require.Equal(t, keys[i], a.Key)
					require.Equal(t, i, a.Deal.Attempt)
				}
				require.Equal(t, []api.PiecePlacement{*rec.Placement}, slices.Collect(maps.Keys(w.index)), "nobody looks in the old sector")
				require.Equal(t, 1, w.published)
				require.True(t, slices.ContainsFunc(rec.Log,
					func(l api.DealLogEntry) bool { return strings.Contains(l.Message, "placed again") }))
				require.False(t, w.staged(p, id))
			})
		})
	}
}

// Sealing may give the piece up while it is still being handed over.
func TestPlaceLostDuringTheHandOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail["SectorAddPiece"] = []error{gone("removed")}
		p := w.open(memory())
		defer w.run(p)()
		rec := w.untilComplete(p, w.deal(p))
		require.True(t, rec.Active)
		require.Equal(t, 1, rec.Attempt)
		require.Len(t, w.adds, 1)
	})
}

// One that loses its place again and again is not offered without end in a
// moment.
func TestPlacingAgainSlowsDown(t *testing.T) {
	p := &Provider{cfg: Config{RetryMin: time.Second, RetryMax: time.Minute}}
	for n, want := range map[int]time.Duration{0: 0, 1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 7: time.Minute,
		40: time.Minute, 1 << 20: time.Minute} {
		require.Equal(t, want, p.pause(n), "attempt %d", n)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail["SectorAddPiece"] = slices.Repeat([]error{gone("removed")}, 5)
		p := w.open(memory())
		defer w.run(p)()
		id := w.deal(p)
		begun := time.Now()
		w.until(p, id, "is placed", at(api.DealIndexed))
		require.GreaterOrEqual(t, time.Since(begun), (1+2+4+8+16)*time.Second)
	})
}

// A place is looked for as long as the deal may start, and not an epoch longer.
func TestPlacedAgainAsLongAsItsStartAllows(t *testing.T) {
	for _, row := range []struct {
		lost abi.ChainEpoch
		ok   bool
	}{{dealStart - 30, true}, {dealStart + 1, false}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.seal = 1 << 30 // never by itself
			p := w.open(memory())
			defer w.run(p)()
			id := w.deal(p)
			w.until(p, id, "is indexed", at(api.DealIndexed))
			time.Sleep(time.Until(w.born.Add(time.Duration(row.lost-head) * epoch)))
			w.seal = 10
			w.lose(id.String(), gone("disk burnt"))
			rec := w.untilComplete(p, id)
			require.Equal(t, row.ok, rec.Active, rec.Err)
			require.False(t, w.staged(p, id))
			if row.ok {
				require.Empty(t, rec.Err)
				return
			}
			require.Equal(t, api.DealRetryFatal, rec.Retry)
			require.Equal(t, api.FaultStore, rec.Fault)
			require.Contains(t, rec.Err, "cannot seal deal with piece CID")
			require.Contains(t, rec.Err, "has passed deal proposal start epoch 2880")
			require.Contains(t, rec.Err, "through the provider, whose last trouble was: ")
			require.Contains(t, rec.Err, "disk burnt")
			require.Len(t, w.adds, 1)
		})
	}
}

func TestPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.open(memory())
		require.True(t, p.passed(t.Context(), head-1))
		require.False(t, p.passed(t.Context(), head))
		w.fail["ChainHead"] = []error{errors.New("away")}
		require.False(t, p.passed(t.Context(), 0), "a node that is away says nothing")
	})
}

func TestInTimeBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.open(memory())
		rec := w.get(p, w.deal(p))
		cdp, err := rec.Proposal()
		require.NoError(t, err)
		for _, row := range []struct {
			buffer abi.ChainEpoch
			ok     bool
		}{{dealStart - head, true}, {dealStart - head + 1, false}} {
			err := p.inTime(t.Context(), rec, cdp.Proposal, row.buffer, "seal")
			require.Equal(t, row.ok, err == nil, "%d: %v", row.buffer, err)
			require.True(t, row.ok || classOf(err) == api.DealRetryFatal)
		}
		w.fail["ChainHead"] = []error{errors.New("node is away")}
		err = p.inTime(t.Context(), rec, cdp.Proposal, 1<<20, "seal")
		require.ErrorContains(t, err, "node is away")
		require.Equal(t, api.DealRetryAuto, classOf(err), "what nobody can tell ends no deal")
	})
}

// A deal that was thought lost and came through on chain is complete, with the
// place that did it.
func TestPlaceThatCameThroughIsAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.open(memory())
		defer w.run(p)()
		w.seal = 1 << 30
		id := w.deal(p)
		w.until(p, id, "is indexed", at(api.DealIndexed))
		w.mu.Lock()
		old := w.places[id.String()].at
		w.places[id.String()].givenUp = gone("the update was given up")
		w.onAdd = func(r api.AddPieceRequest) error {
			if r.Deal.Attempt == 2 { // the first place lands after all
				w.active = w.now()
				w.places[id.String()].givenUp = nil
			}
			return gone("no room")
		}
		w.mu.Unlock()
		rec := w.untilComplete(p, id)
		require.True(t, rec.Active, rec.Err)
		require.Equal(t, old, *rec.Placement)
		require.Zero(t, rec.Attempt)
		require.Equal(t, map[api.PiecePlacement]int{old: 1}, w.index)
		require.False(t, w.staged(p, id))
	})
}

// Active on chain and known to nobody here: a trouble of ours, asked again until
// somebody has restored the sealing node.
func TestActiveDealOfUnknownPlaceWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.active = 900
		p := w.open(memory())
		defer w.run(p)()
		id := w.deal(p)
		rec := w.until(p, id, "says so", func(r *Record) bool { return strings.Contains(r.Err, "does not know its sector") })
		require.Equal(t, api.DealRetryAuto, rec.Retry)
		time.Sleep(3000 * epoch) // its start passes
		require.False(t, w.get(p, id).Final())
		w.mu.Lock()
		w.places[id.String()] = &place{at: api.PiecePlacement{Size: 1024}}
		w.mu.Unlock()
		require.True(t, w.untilComplete(p, id).Active)
	})
}

// A private node is set back to a state in which the deal's sector is unknown
// while the chain has made the deal active: it is complete and not placed again.
func TestActiveDealIsNotPlacedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.open(memory())
		defer w.run(p)()
		id := w.deal(p)
		w.until(p, id, "is indexed", at(api.DealIndexed))
		w.mu.Lock()
		w.active = w.now()
		w.mu.Unlock()
		w.lose(id.String(), nil)
		rec := w.untilComplete(p, id)
		require.True(t, rec.Active)
		require.Zero(t, rec.Attempt)
		require.Len(t, w.adds, 1)
	})
}

func TestSlashedDealFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.open(memory())
		defer w.run(p)()
		id := w.deal(p)
		w.until(p, id, "is indexed", at(api.DealIndexed))
		w.mu.Lock()
		w.slashed = 1010
		w.mu.Unlock()
		rec := w.untilComplete(p, id)
		require.Contains(t, rec.Err, "deal 0 was slashed at epoch 1010; through the provider")
		require.False(t, rec.Active)
		require.False(t, w.staged(p, id))
	})
}

// A deal whose sector never came through fails a few epochs after its start, one
// that the chain has dropped too, one whose chain is away only when it is known.
func TestNotActivatedInTime(t *testing.T) {
	for name, row := range map[string]struct {
		spoil func(w *world)
		from  abi.ChainEpoch
	}{
		"not active":           {func(*world) {}, dealStart + 5},
		"dropped by the chain": {func(w *world) { w.missing = true }, dealStart + 5},
		"a node without a word": {func(w *world) {
			w.fail["StateMarketStorageDeal"] = slices.Repeat([]error{errors.New("deal 0 not found")}, 100000)
		}, dealStart + goneAfter},
		"a node that comes back": {func(w *world) {
			w.fail["StateMarketStorageDeal"] = slices.Repeat([]error{&api.ErrUnreachable{}},
				36)
		}, dealStart + 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.seal = 1 << 30
				p := w.open(memory())
				defer w.run(p)()
				id := w.deal(p)
				w.until(p, id, "is indexed", at(api.DealIndexed))
				w.mu.Lock()
				row.spoil(w)
				w.mu.Unlock()
				time.Sleep(time.Until(w.born.Add(time.Duration(row.from-head) * epoch)))
				synctest.Wait()
				require.False(t, w.get(p, id).Final())
				rec := w.untilComplete(p, id)
				require.Contains(t, rec.Err, "was not activated by proposed deal start epoch 2880; through the provider")
				require.LessOrEqual(t, w.now(), row.from+400)
				require.False(t, w.staged(p, id))
			})
		})
	}
}
