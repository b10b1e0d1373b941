package worker

import "sync"

// progress is what the task last said about itself.
type progress struct {
	mu      sync.Mutex
	stage   string
	percent float64
}

func newProgress() *progress { return &progress{stage: "prepare"} }

func (p *progress) set(stage string, done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stage, p.percent = stage, 0
	if total > 0 {
		p.percent = 100 * float64(done) / float64(total)
	}
}

// of gives a function for one stage.
func (p *progress) of(stage string) func(done, total int64) {
	return func(done, total int64) { p.set(stage, done, total) }
}

func (p *progress) get() (string, float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stage, p.percent
}
