package bench

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// Phase is a measured piece of work.
type Phase struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	// CPU is the processor time of all threads, in seconds; on a machine with other
	// work it says more than Seconds. 0 where the system does not tell.
	CPU float64 `json:"cpu_seconds"`
	// Peak is the most memory the process had in use during the phase, in bytes:
	// on Linux the resident set, mapped files included, elsewhere what the Go
	// runtime held.
	Peak uint64 `json:"peak_bytes"`
}

// Recorder measures phases one after the other.
type Recorder struct {
	Phases []Phase
	// Began, where not nil, is told the name of each phase.
	Began func(name string)
}

// Do measures f as the phase name. Memory that earlier phases no longer use is
// given back first, so that it does not count.
func (r *Recorder) Do(ctx context.Context, name string, f func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.Began != nil {
		r.Began(name)
	}
	debug.FreeOSMemory()
	peak := startPeak()
	start, used := time.Now(), cpuTime()
	err := f(ctx)
	took, worked := time.Since(start), cpuTime()-used
	most := peak.stop()
	if err != nil {
		return err
	}
	r.Phases = append(r.Phases, Phase{Name: name, Seconds: took.Seconds(), CPU: worked.Seconds(), Peak: most})
	return nil
}

// Seconds is the sum over all phases.
func (r *Recorder) Seconds() (sum float64) {
	for _, p := range r.Phases {
		sum += p.Seconds
	}
	return sum
}

// peakMeter finds the peak between its making and stop.
type peakMeter interface{ stop() uint64 }

// startPeak prefers the system's own high-water mark.
func startPeak() peakMeter {
	if m := systemPeak(); m != nil {
		return m
	}
	return startSampling(20 * time.Millisecond)
}

// sampler looks at the Go runtime now and then.
type sampler struct {
	mu   sync.Mutex
	most uint64
	end  chan struct{}
	done chan struct{}
}

func startSampling(every time.Duration) *sampler {
	s := &sampler{end: make(chan struct{}), done: make(chan struct{})}
	s.look()
	go func() {
		defer close(s.done)
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-s.end:
				return
			case <-t.C:
				s.look()
			}
		}
	}()
	return s
}

func (s *sampler) look() {
	v := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(v)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.most = max(s.most, v[0].Value.Uint64()-v[1].Value.Uint64())
}

func (s *sampler) stop() uint64 {
	close(s.end)
	<-s.done
	s.look()
	return s.most
}
