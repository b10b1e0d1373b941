package printable

import (
	"io"
	"sync"
	"unicode/utf8"
)

// Writer passes on text, with everything escaped that is neither drawn nor a line
// break nor a tab. JSON stays JSON and means the same. It may be used by several
// goroutines. A character that is cut by the end of a Write waits for its rest in
// the next one; at most three bytes wait.
type Writer struct {
	mu   sync.Mutex
	w    io.Writer
	part []byte
	out  []byte
}

// NewWriter writes to w, which may be a terminal.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write implements io.Writer. It counts the bytes of p, not of what it wrote.
func (t *Writer) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	in := p
	if len(t.part) > 0 {
		in = append(t.part, p...)
		t.part = nil
	}
	t.out = t.out[:0]
	for len(in) > 0 {
		if in[0] == '\n' || in[0] == '\t' || in[0] >= 0x20 && in[0] < 0x7f {
			t.out, in = append(t.out, in[0]), in[1:]
			continue
		}
		if !utf8.FullRune(in) {
			t.part = append([]byte(nil), in...)
			break
		}
		_, n := utf8.DecodeRune(in)
		part, _ := shown(string(in[:n]))
		t.out, in = append(t.out, part...), in[n:]
	}
	if len(t.out) == 0 {
		return len(p), nil
	}
	if _, err := t.w.Write(t.out); err != nil {
		return 0, err
	}
	return len(p), nil
}
