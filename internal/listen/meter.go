package listen

import "time"

// meter counts how long a peer was waited for since it last moved a fair amount
// of bytes. Its owner holds a lock.
type meter struct {
	stall time.Duration
	fair  int

	spent time.Duration // waited for since moved was last set to zero
	moved int
	since time.Time // of the waiting that goes on now; zero: nobody waits
}

// begin notes that the peer is waited for from now on and tells until when.
func (m *meter) begin(now time.Time) (until time.Time) {
	m.since = now
	return now.Add(m.stall - m.spent)
}

// end notes that n bytes moved; more are those that moved unseen, in the buffers
// below. It tells whether the peer may still be waited for.
func (m *meter) end(now time.Time, n int) bool {
	if !m.since.IsZero() {
		m.spent += now.Sub(m.since)
		m.since = time.Time{}
	}
	m.moved += n
	if m.moved >= m.fair {
		m.moved, m.spent = 0, 0
	}
	return m.spent < m.stall
}

// reset forgets what was.
func (m *meter) reset() { m.moved, m.spent = 0, 0 }
