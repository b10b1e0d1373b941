package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"quarry/internal/printable"
)

// stage is one line of the screen.
type stage struct {
	name    string
	started time.Time
	ended   time.Time
	note    string
}

func (s *stage) elapsed() time.Duration {
	switch {
	case s.started.IsZero():
		return 0
	case s.ended.IsZero():
		return time.Since(s.started)
	}
	return s.ended.Sub(s.started)
}

// screen shows the stages: redrawn in place on a terminal, one line per
// change in a pipe.
type screen struct {
	out    io.Writer
	live   bool
	mu     sync.Mutex
	stages []*stage
	foot   string
	drawn  int
	closed bool
}

func newScreen() *screen {
	return &screen{out: os.Stdout, live: term.IsTerminal(int(os.Stdout.Fd()))}
}

// begin ends the running stage and starts the next.
func (s *screen) begin(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finishLocked()
	s.stages = append(s.stages, &stage{name: name, started: time.Now()})
	if !s.live {
		fmt.Fprintf(s.out, "-- %s\n", name)
		return
	}
	s.drawLocked()
}

// note says something about the running stage.
func (s *screen) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.stages) == 0 {
		return
	}
	text := printable.Line(fmt.Sprintf(format, args...)) // parts of it come from deals
	cur := s.stages[len(s.stages)-1]
	if cur.note == text {
		return
	}
	cur.note = text
	if !s.live {
		fmt.Fprintf(s.out, "   %s\n", text)
		return
	}
	s.drawLocked()
}

// footer is the line below the stages.
func (s *screen) footer(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.foot = text
	if s.live {
		s.drawLocked()
	}
}

func (s *screen) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.finishLocked()
	if s.live {
		s.foot = ""
		s.drawLocked()
	}
	s.closed = true
}

func (s *screen) finishLocked() {
	if n := len(s.stages); n > 0 && s.stages[n-1].ended.IsZero() {
		s.stages[n-1].ended = time.Now()
	}
}

func (s *screen) drawLocked() {
	if s.closed {
		return
	}
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil || width < 40 {
		width = 80
	}
	var b strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.drawn)
	}
	lines := 0
	line := func(text string) {
		if r := []rune(text); len(r) > width-1 {
			text = string(r[:width-1])
		}
		b.WriteString("\x1b[2K" + text + "\n")
		lines++
	}
	for _, st := range s.stages {
		mark := "✓"
		if st.ended.IsZero() {
			mark = "…"
		}
		line(fmt.Sprintf(" %s %-34s %6.1fs  %s", mark, st.name, st.elapsed().Seconds(), st.note))
	}
	line(" " + s.foot)
	s.drawn = lines
	fmt.Fprint(s.out, b.String())
}
