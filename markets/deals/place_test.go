package deals

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/markets/publish"
	"quarry/markets/transfer"
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
				require.True(t, slices.ContainsFunc(rec.Log, func(l api.DealLogEntry) bool { return strings.Contains(l.Message, "placed again") }))
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
	for n, want := range map[int]time.Duration{0: 0, 1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 7: time.Minute, 40: time.Minute, 1 << 20: time.Minute} {
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

// No error that any part of ours can give ends a deal, or leaves it to the
// operator: it is tried again by itself and comes home.
func TestNoErrorOfOursEndsADeal(t *testing.T) {
	errs := map[string]error{
		"plain":    errors.New("sync directory: no such file"),
		"path":     &fs.PathError{Op: "open", Path: "/sectors", Err: syscall.EIO},
		"no space": fmt.Errorf("write: %w", syscall.ENOSPC),
		"canceled": context.Canceled,
		"timeout":  context.DeadlineExceeded,
	}
	for _, e := range api.ErrorTable() {
		errs[fmt.Sprintf("%T", e)] = e
		errs[fmt.Sprintf("wrapped %T", e)] = fmt.Errorf("sector 7: %w", e)
	}
	calls := []string{"ChainHead", "StateMarketStorageDeal", "Publish", "Confirm", "SectorAddPiece", "SectorPlacement", "SectorsStatus",
		"AddDeal", "Index", "ForgetSector", "Fetch"}
	for name, e := range errs {
		t.Run(name, func(t *testing.T) {
			for _, call := range calls {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.fail[call] = []error{nil, e, e, nil, e}
					p := w.open(memory())
					defer w.run(p)()
					id := w.deal(p)
					if call == "ForgetSector" {
						w.fail[call] = []error{e, e}
						w.until(p, id, "is indexed", at(api.DealIndexed))
						w.lose(id.String(), gone("removed"))
					}
					rec := w.until(p, id, "comes home", func(r *Record) bool {
						require.Equal(t, api.DealRetryAuto, r.Retry, "%s fails with %v: %s", call, e, r.Err)
						return r.Final()
					})
					require.True(t, rec.Active, "%s fails with %v: %s", call, e, rec.Err)
					require.Empty(t, rec.Err)
				})
			}
		})
	}
}

// What the client did wrong is told from what we did.
func TestWhoseFaultItIs(t *testing.T) {
	rows := []struct {
		name  string
		call  string
		err   error
		retry api.DealRetry
		fault api.Fault
		text  string
	}{
		{"the client's server says no", "Fetch", &transfer.FatalError{Err: errors.New("server answered 404")}, api.DealRetryFatal, api.FaultCaller, "404"},
		{"the client's server is away", "Fetch", errors.New("connection refused"), api.DealRetryAuto, api.FaultCaller, "refused"},
		{"our disk is full", "Fetch", &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, api.DealRetryAuto, api.FaultStore, "no space"},
		{"our disk is full, said without a path", "Fetch", fmt.Errorf("x: %w", syscall.EDQUOT), api.DealRetryAuto, api.FaultStore, "quota"},
		{"the market actor refuses the deal", "Publish", &publish.RefusedError{Reason: "exit code 16"}, api.DealRetryManual, api.FaultCaller, "16"},
		{"it was dropped at publication", "Confirm", &publish.DroppedError{Reason: "invalid at publication"}, api.DealRetryFatal, api.FaultCaller, "invalid"},
		{"sealing has the wrong token", "SectorAddPiece", &api.ErrPermission{Method: "x"}, api.DealRetryAuto, api.FaultOperator, "permission"},
		{"sealing is away", "SectorAddPiece", &api.ErrUnreachable{Peer: "sealing"}, api.DealRetryAuto, api.FaultNetwork, "unreachable"},
		{"sealing does not take the request", "SectorAddPiece", &api.ErrInvalid{What: "piece"}, api.DealRetryAuto, api.FaultStore, "piece"},
		{"sealing has an I/O error", "SectorAddPiece", &api.ErrBusy{What: "piece", Reason: "sync directory"}, api.DealRetryAuto, api.FaultNetwork, "sync directory"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.fail[row.call] = slices.Repeat([]error{row.err}, 1000)
				p := w.open(memory())
				defer w.run(p)()
				rec := w.until(p, w.deal(p), "has trouble", func(r *Record) bool { return r.Err != "" })
				require.Equal(t, row.retry, rec.Retry)
				require.Equal(t, row.fault, rec.Fault)
				require.Contains(t, rec.Err, row.text)
				require.Equal(t, row.retry == api.DealRetryFatal, rec.Final())
				require.Equal(t, row.retry != api.DealRetryFatal && row.call != "Fetch", w.staged(p, rec.UUID))
				info, err := rec.Info(false)
				require.NoError(t, err)
				require.Equal(t, row.fault, info.Fault)
				if row.retry == api.DealRetryAuto {
					w.mu.Lock()
					w.fail[row.call] = nil
					w.mu.Unlock()
					rec = w.untilComplete(p, rec.UUID)
					require.True(t, rec.Active)
					require.Empty(t, rec.Fault, "the trouble is over")
				}
			})
		})
	}
}

// A deal that runs out of time says through whom.
func TestLateThroughTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail["Fetch"] = slices.Repeat([]error{errors.New("connection refused")}, 100000)
		p := w.open(memory())
		defer w.run(p)()
		rec := w.untilComplete(p, w.deal(p))
		require.Equal(t, api.DealRetryFatal, rec.Retry)
		require.Equal(t, api.FaultCaller, rec.Fault)
		require.Contains(t, rec.Err, "cannot transfer deal with piece CID")
		require.Contains(t, rec.Err, "through the client, whose last trouble was: ")
		require.Contains(t, rec.Err, "connection refused")
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
		"a node that comes back": {func(w *world) { w.fail["StateMarketStorageDeal"] = slices.Repeat([]error{&api.ErrUnreachable{}}, 36) }, dealStart + 5},
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

// Staged bytes that are lost or damaged after publication are fetched again and
// checked; the deal does not end for it.
func TestLostStagedBytesAreFetchedAgain(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, w *world, path string){
		"lost": func(t *testing.T, _ *world, path string) { require.NoError(t, os.Remove(path)) },
		"torn": func(t *testing.T, _ *world, path string) { require.NoError(t, os.Truncate(path, 100)) },
		"too long": func(t *testing.T, w *world, path string) {
			require.NoError(t, os.WriteFile(path, append(w.payload, 0), 0o600))
		},
		"not there, and the server is away": func(t *testing.T, w *world, path string) {
			w.fail["Fetch"] = []error{&transfer.FatalError{Err: errors.New("404")}, errors.New("refused")}
			require.NoError(t, os.Remove(path))
		},
		"not there, and the server sends rubbish": func(t *testing.T, w *world, path string) {
			w.served = append([]byte("x"), w.payload[1:]...)
			require.NoError(t, os.Remove(path))
			time.AfterFunc(10*epoch, func() { w.mu.Lock(); w.served = w.payload; w.mu.Unlock() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.fail["SectorPlacement"] = slices.Repeat([]error{&api.ErrUnreachable{}}, 3)
				p := w.open(memory())
				defer w.run(p)()
				id := w.deal(p)
				w.until(p, id, "is published", func(r *Record) bool { return r.Checkpoint == api.DealPublishConfirmed && r.Err != "" })
				w.mu.Lock()
				spoil(t, w, p.StagedPath(id))
				w.mu.Unlock()
				rec := w.until(p, id, "comes home", func(r *Record) bool {
					require.Equal(t, api.DealRetryAuto, r.Retry)
					return r.Final()
				})
				require.True(t, rec.Active)
				require.Len(t, w.adds, 1)
			})
		})
	}
}

// Sealing that read other bytes than were staged has us look at ours.
func TestMismatchAtSealingChecksOurBytes(t *testing.T) {
	for _, damaged := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			p := w.open(memory())
			defer w.run(p)()
			first := true
			w.onAdd = func(r api.AddPieceRequest) error {
				if !first {
					return nil
				}
				first = false
				if damaged {
					id := strings.TrimPrefix(r.Data.URL, "/staged/")
					require.NoError(t, os.WriteFile(w.dir+"/"+id+stagedSuffix, append([]byte("x"), w.payload[1:]...), 0o600))
				}
				return &api.ErrPieceMismatch{Want: "a", Got: "b"}
			}
			rec := w.until(p, w.deal(p), "comes home", func(r *Record) bool {
				require.Equal(t, api.DealRetryAuto, r.Retry)
				return r.Final()
			})
			require.True(t, rec.Active)
			require.Len(t, w.adds, 1)
			want := 1
			if damaged {
				want = 2
			}
			require.Equal(t, want, w.calls["Fetch"])
		})
	}
}

// A message that failed as a whole is no deal's fault.
func TestFailedPublishMessageIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail["Confirm"] = []error{&publish.DroppedError{Reason: "exit code 7", Message: true}, nil}
		w.fail["Release"] = []error{errors.New("disk full")}
		w.fail["Confirm"] = append([]error{w.fail["Confirm"][0]}, w.fail["Confirm"]...)
		p := w.open(memory())
		defer w.run(p)()
		id := w.deal(p)
		rec := w.untilComplete(p, id)
		require.True(t, rec.Active, rec.Err)
		require.Equal(t, 2, w.published)
		require.Equal(t, 2, w.released)
		require.True(t, slices.ContainsFunc(rec.Log, func(l api.DealLogEntry) bool { return strings.Contains(l.Message, "published again: exit code 7") }))
	})
}

// Deals of earlier versions, whose bytes went at the hand-off, end as they must.
func TestDealsWithoutStagedBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.seal = 1 << 30
		p := w.open(memory())
		defer w.run(p)()
		w.fail["AddDeal"] = []error{errors.New("x")}
		id := w.deal(p)
		w.until(p, id, "is placed", func(r *Record) bool { return r.Checkpoint == api.DealAddedPiece && r.Err != "" })
		w.mu.Lock()
		w.fail["Fetch"] = slices.Repeat([]error{&transfer.FatalError{Err: errors.New("404")}}, 100000)
		require.NoError(t, os.Remove(p.StagedPath(id)))
		w.mu.Unlock()
		w.until(p, id, "cannot be indexed", func(r *Record) bool { return strings.Contains(r.Err, "cannot be fetched again") })
		w.mu.Lock()
		w.active = 1200 // it came through all the same
		w.mu.Unlock()
		rec := w.untilComplete(p, id)
		require.True(t, rec.Active)
		require.True(t, slices.ContainsFunc(rec.Log, func(l api.DealLogEntry) bool { return strings.HasPrefix(l.Message, "not indexed: ") }))
	})
}
