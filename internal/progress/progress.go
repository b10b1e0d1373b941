package progress

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"quarry/internal/printable"
)

// How often a line is drawn.
const (
	everyTerminal = 200 * time.Millisecond
	everyPlain    = 10 * time.Second
)

// Printer prints the progress of one piece of work. Step may be called from
// several goroutines, as often as the work likes.
type Printer struct {
	w        io.Writer
	terminal bool
	now      func() time.Time

	mu      sync.Mutex
	stage   string
	began   time.Time // of the stage
	shown   time.Time // last line
	dirty   bool      // a line is drawn and not ended
	printed bool      // of the stage, in plain mode
}

// New prints to f, drawing over a line if it is a terminal.
func New(f *os.File) *Printer {
	return newPrinter(f, term.IsTerminal(int(f.Fd())), time.Now) //nolint:gosec // file descriptors are small
}

func newPrinter(w io.Writer, terminal bool, now func() time.Time) *Printer {
	return &Printer{w: w, terminal: terminal, now: now}
}

// Step tells that done of total units of stage are finished; total 0 means that
// the end is not known.
func (p *Printer) Step(stage string, done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if stage != p.stage {
		p.endLine()
		p.stage, p.began = stage, now
		p.shown, p.printed = time.Time{}, false
	}
	every := everyPlain
	if p.terminal {
		every = everyTerminal
	}
	last := total > 0 && done >= total
	if now.Sub(p.shown) < every && !(last && p.printed) {
		return
	}
	p.shown, p.printed = now, !last
	p.draw(line(stage, done, total, now.Sub(p.began)))
}

// Done ends the line that is being drawn.
func (p *Printer) Done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endLine()
	p.stage = ""
}

func (p *Printer) draw(s string) {
	s = printable.Line(s)
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s", s)
		p.dirty = true
		return
	}
	fmt.Fprintln(p.w, s)
}

func (p *Printer) endLine() {
	if p.dirty {
		fmt.Fprintln(p.w)
		p.dirty = false
	}
}

func line(stage string, done, total int64, took time.Duration) string {
	if total <= 0 {
		return fmt.Sprintf("%s: %s", stage, took.Round(time.Second))
	}
	share := float64(done) / float64(total)
	if done <= 0 || done >= total {
		return fmt.Sprintf("%s: %.1f %%, %s", stage, 100*share, took.Round(100*time.Millisecond))
	}
	left := time.Duration(float64(took) * (1 - share) / share)
	return fmt.Sprintf("%s: %.1f %%, %s, about %s left", stage, 100*share, took.Round(time.Second), left.Round(time.Second))
}
