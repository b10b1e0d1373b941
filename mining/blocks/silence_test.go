package blocks

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// slept is a devnet that tells its open epoch.
func (n *net) slept() Config {
	return Config{EpochWall: func() time.Duration { return pace }, OpenEpoch: func(context.Context) (abi.ChainEpoch, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.open, n.fail("open")
	}}
}

var silences = []abi.ChainEpoch{99, 100, 101, 1000, 100_000}

// A devnet on which nothing was mined for any number of epochs, for example
// because all its miners were away: production goes on at once, with null rounds,
// and reaches the open epoch within a few blocks.
func TestGoesOnAfterAnySilenceOfADevnet(t *testing.T) {
	for _, silence := range silences {
		t.Run(fmt.Sprint(silence), func(t *testing.T) {
			n := newNet(t)
			n.open = silence
			n.scene(t, n.slept(), func(p *Producer) {
				blocks := 0
				for ; n.head.Height < silence && blocks <= int(silence); blocks++ {
					n.pass(time.Millisecond)
					if len(n.submitted) != blocks+1 {
						t.Fatalf("%d blocks on the head at %d after a millisecond: %+v", len(n.submitted)-blocks, n.head.Height, p.Status())
					}
					b := n.submitted[blocks].Header
					if b.Height > silence || b.Height-n.head.Height > defaultNulls+1 {
						t.Fatalf("block at %d on %d", b.Height, n.head.Height)
					}
					n.grow(b.Height, true)
					synctest.Wait()
				}
				if most := int(silence/defaultNulls) + 1; blocks > most {
					t.Errorf("caught up with %d epochs by %d blocks, want at most %d", silence, blocks, most)
				}
			})
		})
	}
}

// On a network of 4 or 30 s epochs the timestamps say how long it was silent. The
// only miner goes on with null rounds and a block that bears the right time, as
// soon as it is clear that the node is not syncing.
func TestGoesOnAfterAnySilenceOfARealNetwork(t *testing.T) {
	for _, delay := range []uint64{4, 30} {
		for _, silence := range silences {
			t.Run(fmt.Sprintf("%d epochs of %d s", silence, delay), func(t *testing.T) {
				n := newNet(t)
				n.delay = delay
				now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Unix() // when the bubble starts
				n.head.Blocks[0].Timestamp = uint64(now - int64(delay)*int64(silence))
				n.scene(t, Config{}, func(p *Producer) {
					n.pass(time.Duration(delay) * time.Second) // one that has just started finds its peers
					for n.head.Blocks[0].Timestamp+10*delay < uint64(time.Now().Unix()) {
						for range 2 * delay {
							n.pass(time.Second)
							if len(n.submitted) > 0 && n.submitted[len(n.submitted)-1].Header.Height > n.head.Height {
								break
							}
						}
						last := n.submitted[len(n.submitted)-1].Header
						if last.Height <= n.head.Height {
							t.Fatalf("no block on the head at %d: %+v", n.head.Height, p.Status())
						}
						if nulls := last.Height - n.head.Height - 1; last.Timestamp != n.head.MinTimestamp()+delay*uint64(nulls+1) {
							t.Fatalf("a block after %d null rounds bears %d, parent %d", nulls, last.Timestamp, n.head.MinTimestamp())
						}
						n.grow(last.Height, true)
						synctest.Wait()
					}
					if got, most := len(n.submitted), int(silence/defaultNulls)+40; got > most {
						t.Errorf("%d blocks to bridge %d epochs, want at most %d", got, silence, most)
					}
				})
			})
		}
	}
}

// While nothing is won no number of silent epochs ends the trying, and no epoch is
// left out.
func TestSilenceThatIsFollowedIsTriedRoundByRound(t *testing.T) {
	n := newNet(t)
	n.power = 0
	cfg := devnet
	n.scene(t, cfg, func(*Producer) {
		n.pass(1500*pace + pace/2)
		if len(n.tried) != 1501 || n.tried[1500] != 1501 {
			t.Errorf("tried %d rounds, the last of them %d; want every one up to 1501", len(n.tried), n.tried[len(n.tried)-1])
		}
		n.mu.Lock()
		n.power = 1
		n.mu.Unlock()
		n.pass(pace)
		if len(n.submitted) != 1 || n.submitted[0].Header.Height != 1502 {
			t.Errorf("%d blocks", len(n.submitted))
		}
	})
}

// A miner with a small share tries the rounds of a silence one after the other
// until it wins one: the open one, and those before it.
func TestEveryRoundOfASilenceIsWorthATry(t *testing.T) {
	n := newNet(t)
	n.power, n.open = 0, 300
	n.scene(t, n.slept(), func(*Producer) {
		n.pass(10 * time.Millisecond)
		seen := map[abi.ChainEpoch]int{}
		for _, r := range n.tried {
			seen[r]++
		}
		for r := abi.ChainEpoch(1); r <= 300; r++ {
			if seen[r] != 1 {
				t.Fatalf("round %d was tried %d times", r, seen[r])
			}
		}
		if len(seen) != 300 || n.tried[0] != 300 || n.tried[1] != 299 {
			t.Errorf("tried %d rounds, first %v", len(seen), n.tried[:2])
		}
	})
}

// The node of a real network that is still fetching the chain is waited for, with
// one line in the log, and production goes on when it is done.
func TestWaitsForASyncingNode(t *testing.T) {
	n := newNet(t)
	var log bytes.Buffer // written by Run alone; read when it rests
	n.log = slog.New(slog.NewTextHandler(&log, nil))
	n.delay = 30
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	n.head.Blocks[0].Timestamp = uint64(now - 86400)
	n.sync = `{"ActiveSyncs":[{"Stage":4,"Target":{"Height":1}},{"Stage":3,"Target":{"Height":2870}}]}`
	n.scene(t, Config{}, func(p *Producer) {
		n.pass(time.Hour)
		if st := p.Status(); len(n.tried) != 0 || !strings.Contains(st.Reason,
			"25h0m0s behind the clock and syncing from height 0 to 2870") {
			t.Errorf("tried %v, reason %q", n.tried, st.Reason)
		}
		if got := strings.Count(log.String(), "block production pauses"); got != 1 {
			t.Errorf("%d lines:\n%.2000s", got, log.String())
		}
		n.mu.Lock()
		n.sync = `{"ActiveSyncs":[{"Stage":4,"Target":{"Height":2870}}]}`
		n.mu.Unlock()
		n.pass(time.Minute)
		if len(n.submitted) == 0 || strings.Count(log.String(), "block production goes on") != 1 {
			t.Errorf("%d blocks:\n%.2000s", len(n.submitted), log.String())
		}
	})
}

func TestSyncTarget(t *testing.T) {
	for raw, want := range map[string]abi.ChainEpoch{
		``: 0, `{}`: 0, `[]`: 0, `{"ActiveSyncs":null}`: 0,
		`{"ActiveSyncs":[{"Stage":0,"Target":{"Height":9}}]}`:                                        0,
		`{"ActiveSyncs":[{"Stage":1,"Target":{"Height":9}},{"Stage":6,"Target":{"Height":8}}]}`:      9,
		`{"ActiveSyncs":[{"Stage":2,"Target":null},{"Stage":2,"Target":{"Height":4}}]}`:              4,
		`{"ActiveSyncs":[{"Stage":4,"Target":{"Height":9}},{"Stage":5,"Target":{"Height":8}}]}`:      0,
		`{"ActiveSyncs":[{"Stage":3,"Target":{"Height":5,"Blocks":[],"Cids":[]},"Message":"busy"}]}`: 5,
	} {
		if got := syncTarget([]byte(raw)); got != want {
			t.Errorf("%s: %d, want %d", raw, got, want)
		}
	}
}

// A full node that stood still comes back at the epoch where it was: what was
// counted meanwhile is forgotten, and no epoch is left out.
func TestNodeThatStoodStillIsFollowedWhereItIs(t *testing.T) {
	n := newNet(t)
	n.power, n.open = 0, 1
	away := &api.ErrUnreachable{Peer: "node", Reason: "connection refused"}
	n.scene(t, n.slept(), func(*Producer) {
		n.mu.Lock()
		for _, what := range []string{"open", "beacon", "info"} {
			n.failures[what] = away
		}
		n.mu.Unlock()
		n.pass(147 * time.Second)
		tried := len(n.tried)
		n.mu.Lock()
		n.failures, n.power, n.open = map[string]error{}, 1, 2
		n.mu.Unlock()
		n.pass(2 * pace)
		if len(n.submitted) != 1 || n.submitted[0].Header.Height != 2 {
			t.Errorf("%d blocks; tried %v", len(n.submitted), n.tried[tried:])
		}
	})
}

// The clock of the machine is set back: nothing is tried until the head is past,
// and when the clock is right again production goes on within an epoch.
func TestClockBehindTheHead(t *testing.T) {
	n := newNet(t)
	var log bytes.Buffer
	n.log = slog.New(slog.NewTextHandler(&log, nil))
	n.delay = 30
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	n.head.Blocks[0].Timestamp = uint64(now + 600)
	n.scene(t, Config{}, func(p *Producer) {
		n.pass(9 * time.Minute)
		if st := p.Status(); len(n.tried) != 0 || !strings.Contains(st.Reason, "check the clock") {
			t.Errorf("tried %v, reason %q", n.tried, st.Reason)
		}
		n.pass(2 * time.Minute)
		if len(n.submitted) != 1 || n.submitted[0].Header.Height != 1 {
			t.Errorf("%d blocks", len(n.submitted))
		}
		if got := strings.Count(log.String(), "block production pauses"); got != 1 {
			t.Errorf("%d lines:\n%.2000s", got, log.String())
		}
	})
}

// The clock of the network ran ahead and is set back, as when a machine's clock was
// wrong for a while: rounds that were planned far ahead do not hold up the next.
func TestClockThatRanAheadIsForgotten(t *testing.T) {
	n := newNet(t)
	n.open, n.failures["info"] = 2880, fmt.Errorf("no randomness for that round")
	n.scene(t, n.slept(), func(*Producer) {
		n.pass(10 * time.Second)
		n.mu.Lock()
		n.open, n.failures = 3, map[string]error{}
		n.mu.Unlock()
		n.pass(2 * pace)
		if len(n.submitted) != 1 || n.submitted[0].Header.Height > 3 {
			t.Errorf("%d blocks; tried %v", len(n.submitted), n.tried)
		}
	})
}

// The guard has the last word also in a silence: a block that was made on a base
// is sent again, and no second one is made on it or at a height it has.
func TestSilenceMakesNoSecondBlockOnABase(t *testing.T) {
	n := newNet(t)
	n.open = 1
	n.scene(t, n.slept(), func(p *Producer) {
		n.mu.Lock()
		n.open = 1000 // nobody saw the first block
		n.mu.Unlock()
		n.pass(time.Minute)
		if len(n.submitted) != 1 || n.resubmitted == 0 || n.submitted[0].Header.Height != 1 || p.Status().BlocksWon != 1 {
			t.Errorf("%d blocks, %d times again", len(n.submitted), n.resubmitted)
		}
	})
}

// The randomness of rounds is missing for a while, as when the beacon stops: the
// same rounds are tried when it is back, and it is one line in the log.
func TestMissingBeaconLeavesNoRoundOut(t *testing.T) {
	n := newNet(t)
	var log bytes.Buffer
	n.log = slog.New(slog.NewTextHandler(&log, nil))
	n.delay, n.power = 30, 0
	n.head.Blocks[0].Timestamp = uint64(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Unix())
	n.failures["beacon"] = fmt.Errorf("no such round yet")
	n.scene(t, Config{}, func(*Producer) {
		n.pass(10 * time.Minute)
		if len(n.tried) != 0 || strings.Count(log.String(), "no such round") != 1 {
			t.Errorf("tried %v:\n%.2000s", n.tried, log.String())
		}
		n.mu.Lock()
		n.failures = map[string]error{}
		n.mu.Unlock()
		n.pass(5 * time.Second)
		if len(n.tried) < 20 || n.tried[0] != 1 || n.tried[19] != 20 {
			t.Errorf("tried %v", n.tried)
		}
	})
}

func TestRoundsOfAPursuit(t *testing.T) {
	c := newPursuit(&api.TipSet{Height: 10}, time.Time{})
	next := func(want ...abi.ChainEpoch) {
		t.Helper()
		for _, w := range want {
			if got := c.nextRound(); got != w {
				t.Fatalf("next is %d, want %d", got, w)
			}
			c.tried(c.nextRound())
		}
	}
	next(11, 12)
	c.jump(16)
	if !c.jumped() {
		t.Error("a jump is not seen")
	}
	next(16, 15, 14, 13, 17, 18)
	if c.jumped() {
		t.Error("a jump that was made is still seen")
	}
}
