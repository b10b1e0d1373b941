package heads

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
)

// A node that is away for long, and comes back on a fork, is one line in the
// log; what happened meanwhile arrives as one event.
func TestLongOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		n := newNode(w.a1, w.g)
		var log bytes.Buffer // written by Run alone; read when it has ended
		f := New(Config{}, Deps{Chain: n, Log: slog.New(slog.NewTextHandler(&log, nil))})
		scene(t, n, f, func(ctx context.Context) {
			ch := f.Subscribe(ctx)
			<-ch
			n.move(false, nil, w.a2)
			<-ch
			n.mu.Lock()
			n.failN = 10_000 // hours, at the longest pause
			n.mu.Unlock()
			n.drop()
			n.move(true, nil, w.b2)
			n.move(true, nil, w.b3)
			if got := labels(<-ch, w.names); got != "-a2+b2+b3" {
				t.Errorf("after the outage %s, want -a2+b2+b3", got)
			}
			n.mu.Lock()
			defer n.mu.Unlock()
			if n.failN != 0 {
				t.Errorf("heard of the head after only %d failures", 10_000-n.failN)
			}
		})
		if lines := bytes.Count(log.Bytes(), []byte("subscribing again")); lines != 1 {
			t.Errorf("%d lines about one outage:\n%.2000s", lines, log.String())
		}
	})
}
