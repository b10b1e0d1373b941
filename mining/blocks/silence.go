package blocks

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
)

// Why block production holds still although the node answers.
const (
	holdSync  = "the full node is not in sync"
	holdClock = "the clock is behind the head"
	holdPoSt  = "a window PoSt is owed"
)

// lag is what is known of a head that the clock has left far behind.
type lag struct {
	hold  string    // why production holds still, empty when it does not
	since time.Time // of hold
	seen  time.Time // when the clock was first found far ahead, zero while it is not
	told  bool      // that the silence is being bridged
	owe   owed
}

// waits tells whether nothing may be tried now, and plans the next round of a
// chain that was silent. It says so once.
func (p *Producer) waits(ctx context.Context, c *pursuit, open abi.ChainEpoch) bool {
	if p.pace() == 0 {
		if ahead := time.Until(time.Unix(int64(c.base.MinTimestamp()), 0)); ahead > p.delay {
			p.hold(holdClock, "the head at %d is %s ahead of this machine's clock: check the clock", c.base.Height,
				ahead.Round(time.Second))
			return true
		}
	}
	silent := open - max(c.high, c.base.Height)
	if open-c.base.Height <= behindFrom {
		p.lag.seen, p.lag.told, p.lag.owe = time.Time{}, false, owed{}
		p.resume(c.base.Height)
		return false
	}
	if p.pace() == 0 && p.notInSync(ctx, c, silent > behindFrom) {
		return true
	}
	if silent <= behindFrom || c.jumped() || c.low <= c.high && c.low-1 > c.floor {
		p.resume(c.base.Height)
		return false
	}
	return p.plan(ctx, c, open)
}

// plan chooses the round to try on a head that the clock has left far behind: the
// open one, or an earlier one where a header or what the miner owes to the chain
// demands it.
func (p *Producer) plan(ctx context.Context, c *pursuit, open abi.ChainEpoch) bool {
	to := min(open, c.base.Height+1+abi.ChainEpoch(p.cfg.MaxNulls))
	stop, why, err := p.lag.owe.stop(ctx, p, c.base, to)
	if err != nil {
		// A node that cannot tell what is owed must not end production.
		p.deps.Log.Debug("what the miner owes while the chain was silent is not known", "error", err)
		stop, why = to, ""
	}
	if why != "" {
		p.hold(holdPoSt, "%s", why)
		c.next = min(retryPause, p.epochLength())
		return true
	}
	if !p.lag.told {
		p.lag.told = true
		p.deps.Log.Info("block production: the chain was silent; going on with null rounds",
			"head", c.base.Height, "open", open, "silent", time.Duration(open-c.base.Height)*p.epochLength())
	}
	p.resume(c.base.Height)
	if stop > c.high+1 {
		c.jump(stop)
	}
	return false
}

// notInSync tells whether a head that lags on a real network does so because the
// node is still fetching the chain. A block on such a head would be worthless.
// Where the rounds since the head were not followed one by one, the node gets an
// epoch first, in which one that has just started finds its peers.
func (p *Producer) notInSync(ctx context.Context, c *pursuit, sudden bool) bool {
	behind := time.Since(time.Unix(int64(c.base.MinTimestamp()), 0)).Round(time.Second)
	if p.lag.seen.IsZero() {
		p.lag.seen = time.Now()
	}
	raw, err := p.deps.Chain.SyncState(ctx)
	if err != nil {
		p.stepFailed(ctx, c, 0, fmt.Errorf("ask whether the full node is in sync: %w", err))
		return true
	}
	p.answered()
	target := syncTarget(raw)
	if target <= c.base.Height && (!sudden || time.Since(p.lag.seen) >= p.delay) {
		return false
	}
	text := fmt.Sprintf("the full node is %s behind the clock; wait until it is in sync", behind)
	if target > c.base.Height {
		text = fmt.Sprintf("the full node is %s behind the clock and syncing from height %d to %d", behind, c.base.Height, target)
	}
	p.hold(holdSync, "%s", text)
	c.next = min(p.delay, 10*time.Second)
	return true
}

// syncTarget is the height a node is fetching the chain to, 0 when it is not.
// Stages: lotus api/types.go; headers, persisting headers, messages, fetching.
func syncTarget(raw json.RawMessage) (height abi.ChainEpoch) {
	var s struct {
		ActiveSyncs []struct {
			Target *struct{ Height abi.ChainEpoch }
			Stage  int
		}
	}
	if json.Unmarshal(raw, &s) != nil {
		return 0
	}
	for _, a := range s.ActiveSyncs {
		active := a.Stage == 1 || a.Stage == 2 || a.Stage == 3 || a.Stage == 6
		if active && a.Target != nil {
			height = max(height, a.Target.Height)
		}
	}
	return height
}

// hold notes why production holds still, and logs it once.
func (p *Producer) hold(why, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p.mu.Lock()
	p.status.Eligible, p.status.Reason = false, text
	p.mu.Unlock()
	if p.lag.hold == why {
		return
	}
	p.lag.hold, p.lag.since = why, time.Now()
	level := slog.LevelWarn
	if why == holdPoSt {
		level = slog.LevelInfo
	}
	p.deps.Log.Log(context.Background(), level, "block production pauses", "because", text)
}

// resume ends a hold.
func (p *Producer) resume(head abi.ChainEpoch) {
	if p.lag.hold == "" {
		return
	}
	p.deps.Log.Info("block production goes on", "head", head, "paused", time.Since(p.lag.since).Round(time.Millisecond), "was", p.lag.hold)
	p.lag.hold = ""
}
