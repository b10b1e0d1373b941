package window

import (
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// paceSpan is how many epochs the pace is measured over, at least, once so many
// were seen.
const paceSpan = 8

// pace is how long epochs take on the wall clock, as heads were seen to come.
type pace struct {
	told func() time.Duration // nil or 0 from it: nobody says

	mu              sync.Mutex
	from, mid, last mark // from is paceSpan epochs or more before last, where known
}

type mark struct {
	at     time.Time
	height abi.ChainEpoch
}

// observe is told of every head.
func (p *pace) observe(head *api.TipSet) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := mark{time.Now(), head.Height}
	if p.from.at.IsZero() || now.height < p.from.height {
		p.from, p.mid = now, now
	}
	p.last = now
	if now.height-p.mid.height >= paceSpan {
		p.from, p.mid = p.mid, now
	}
}

// epoch is the length of an epoch, 0 while it is not known.
func (p *pace) epoch() time.Duration {
	if p.told != nil {
		if d := p.told(); d > 0 {
			return d
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.last.height - p.from.height
	if n <= 0 {
		return 0
	}
	return p.last.at.Sub(p.from.at) / time.Duration(n)
}
