package main

import (
	"bufio"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// best are the best figures of each benchmark, by unit; a benchmark that ran
// several times keeps the one from when the machine had least else to do.
type best map[string]map[string]float64

// procsSuffix is how `go test` marks GOMAXPROCS.
var procsSuffix = regexp.MustCompile(`-\d+$`)

// read takes the output of `go test -bench` in and copies it to echo.
func (b best) read(r io.Reader, echo io.Writer) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		b.line(s.Text())
		if _, err := io.WriteString(echo, s.Text()+"\n"); err != nil {
			return err
		}
	}
	return s.Err()
}

func (b best) line(line string) {
	f := strings.Fields(line)
	if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
		return
	}
	if _, err := strconv.Atoi(f[1]); err != nil {
		return
	}
	name := procsSuffix.ReplaceAllString(strings.TrimPrefix(f[0], "Benchmark"), "")
	if b[name] == nil {
		b[name] = map[string]float64{}
	}
	for i := 2; i+1 < len(f); i += 2 {
		v, err := strconv.ParseFloat(f[i], 64)
		if err != nil {
			return
		}
		unit := f[i+1]
		old, ok := b[name][unit]
		more := strings.HasSuffix(unit, "/s") // a speed: more is better
		if !ok || more && v > old || !more && v < old {
			b[name][unit] = v
		}
	}
}

// get is a figure, false when that benchmark was not run.
func (b best) get(name, unit string) (float64, bool) {
	v, ok := b[name][unit]
	return v, ok
}
