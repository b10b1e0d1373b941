package blocks

import (
	"time"

	"github.com/filecoin-project/go-state-types/abi"
)

// minPace keeps a burst of heads (a node catching up, a warp) from being taken
// for the pace of the network.
const minPace = 20 * time.Millisecond

// pacer estimates the wall-clock length of an epoch from the arrival of heads.
type pacer struct {
	height abi.ChainEpoch
	at     time.Time
	mean   time.Duration
}

func (p *pacer) observe(h abi.ChainEpoch, at time.Time) {
	last, was := p.height, p.at
	p.height, p.at = h, at
	if was.IsZero() || h <= last {
		return
	}
	sample := max(at.Sub(was)/time.Duration(h-last), minPace)
	if p.mean == 0 {
		p.mean = sample
		return
	}
	p.mean += (sample - p.mean) / 8
}

// estimate is the mean so far, or the fallback before there is any.
func (p *pacer) estimate(fallback time.Duration) time.Duration {
	if p.mean == 0 {
		return fallback
	}
	return p.mean
}
