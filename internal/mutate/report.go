package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"text/tabwriter"
)

// report is what gremlins writes with --output.
type report struct {
	Files []struct {
		Name      string `json:"file_name"`
		Mutations []struct {
			Line   int    `json:"line"`
			Column int    `json:"column"`
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"mutations"`
	} `json:"files"`
}

// What gremlins says of a change.
const (
	killed     = "KILLED"      // a test failed
	lived      = "LIVED"       // no test failed
	notCovered = "NOT COVERED" // no test runs through it
	timedOut   = "TIMED OUT"   // the tests did not end
	notViable  = "NOT VIABLE"  // it does not compile
)

// A few changes make endless loops or waits that no clock of a test ends, whatever
// the size of the package. More than these, as a number and as a share in percent,
// say that the machine is too busy for the rest to mean anything.
const (
	fewTimedOut  = 5
	mostTimedOut = 10
)

// score is what came out for one package.
type score struct {
	held
	count map[string]int
	alive []string // changes that nobody noticed, as file:line:column status type
}

// read gives a score for the package and for each one below it: a strong one must
// not hide a weak one. The tool names files from the package on.
func read(h held, raw []byte) ([]score, error) {
	var r report
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("report of %s: %w", h.Dir, err)
	}
	byDir := map[string]*score{}
	for _, f := range r.Files {
		name := path.Join(h.Dir, f.Name)
		dir := path.Dir(name)
		if byDir[dir] == nil {
			byDir[dir] = &score{held: held{dir, h.Efficacy, h.Coverage}, count: map[string]int{}}
		}
		s := byDir[dir]
		for _, m := range f.Mutations {
			s.count[m.Status]++
			if m.Status == lived || m.Status == notCovered {
				s.alive = append(s.alive, fmt.Sprintf("%s:%d:%d %s %s", name, m.Line, m.Column, m.Status, m.Type))
			}
		}
	}
	if len(byDir) == 0 {
		return []score{{held: h}}, nil
	}
	var out []score
	for _, dir := range slices.Sorted(maps.Keys(byDir)) {
		slices.Sort(byDir[dir].alive)
		out = append(out, *byDir[dir])
	}
	return out, nil
}

func percent(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

func (s score) efficacy() float64 { return percent(s.count[killed], s.count[killed]+s.count[lived]) }

func (s score) coverage() float64 {
	ran := s.count[killed] + s.count[lived]
	return percent(ran, ran+s.count[notCovered])
}

// verdict is empty for a package that reaches its bounds.
func (s score) verdict() string {
	ran := s.count[killed] + s.count[lived] + s.count[timedOut]
	switch {
	case ran == 0:
		return "nothing was tried"
	case s.count[timedOut] > fewTimedOut && percent(s.count[timedOut], ran) > mostTimedOut:
		return "too many ran out of time: the machine is busy, or its tests wait on the clock"
	case s.efficacy() < s.Efficacy:
		return fmt.Sprintf("tests notice less than %.0f %%", s.Efficacy)
	case s.coverage() < s.Coverage:
		return fmt.Sprintf("tests run through less than %.0f %%", s.Coverage)
	}
	return ""
}

// table prints the scores and tells how many packages fail; their changes that
// nobody noticed follow.
func table(out io.Writer, scores []score) (failures int, err error) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "efficacy %\tcoverage %\tkilled\tlived\tnot covered\ttimed out\t  package") // Flush gives the error
	for _, s := range scores {
		verdict := s.verdict()
		if verdict != "" {
			verdict = "  FAIL: " + verdict
			failures++
		}
		_, _ = fmt.Fprintf(w, "%.1f\t%.1f\t%d\t%d\t%d\t%d\t  %s%s\n", s.efficacy(), s.coverage(),
			s.count[killed], s.count[lived], s.count[notCovered], s.count[timedOut], s.Dir, verdict)
	}
	if err := w.Flush(); err != nil {
		return failures, err
	}
	for _, s := range scores {
		if s.verdict() == "" {
			continue
		}
		if _, err := fmt.Fprintf(out, "\n%s: changes that no test of its own notices\n", s.Dir); err != nil {
			return failures, err
		}
		for _, a := range s.alive {
			_, _ = fmt.Fprintln(out, "  "+a) // the line above has told of an error
		}
	}
	return failures, nil
}
