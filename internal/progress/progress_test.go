package progress

import (
	"strings"
	"testing"
	"time"
)

func TestPlainLinesNowAndThen(t *testing.T) {
	var b strings.Builder
	now := time.Unix(0, 0)
	p := newPrinter(&b, false, func() time.Time { return now })
	for i := range int64(41) {
		p.Step("labels", i, 40)
		now = now.Add(time.Second)
	}
	p.Step("trees", 0, 0)
	p.Done()
	want := "labels: 0.0 %, 0s\nlabels: 25.0 %, 10s, about 30s left\nlabels: 50.0 %, 20s, about 20s left\n" +
		"labels: 75.0 %, 30s, about 10s left\nlabels: 100.0 %, 40s\ntrees: 0s\n"
	if b.String() != want {
		t.Fatalf("got\n%swant\n%s", b.String(), want)
	}
}

func TestTerminalDrawsOver(t *testing.T) {
	var b strings.Builder
	now := time.Unix(0, 0)
	p := newPrinter(&b, true, func() time.Time { return now })
	p.Step("a", 1, 4)
	p.Step("a", 2, 4) // too soon
	now = now.Add(time.Second)
	p.Step("a", 4, 4)
	p.Step("b", 0, 1)
	p.Done()
	p.Done()
	want := "\r\x1b[Ka: 25.0 %, 0s, about 0s left\r\x1b[Ka: 100.0 %, 1s\n\r\x1b[Kb: 0.0 %, 0s\n"
	if b.String() != want {
		t.Fatalf("got %q want %q", b.String(), want)
	}
}
