package serve

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// The RPC library keeps ids as float64, which rounds what other clients take for
// whole, and takes null for no id at all. So it gets ids of ours, and the answers
// get back what the caller wrote, byte for byte.

// ownID is what the library sees in the place of the n-th id, as JSON.
func ownID(n uint64) []byte { return []byte(`"#` + strconv.FormatUint(n, 10) + `"`) }

// ownNumber is the n of ownID.
func ownNumber(own []byte) (uint64, bool) {
	own, ok := bytes.CutPrefix(own, []byte(`"#`))
	if own, ok2 := bytes.CutSuffix(own, []byte(`"`)); ok && ok2 {
		n, err := strconv.ParseUint(string(own), 10, 64)
		return n, err == nil
	}
	return 0, false
}

// callIDs are the ids of the calls of one request, in order.
type callIDs [][]byte

func (ids callIDs) restore(own []byte, _ bool) []byte {
	if n, ok := ownNumber(own); ok && n < uint64(len(ids)) {
		return ids[n]
	}
	return own
}

// swapIDs takes the ids out of a request. What it cannot read is left as it is:
// the library says what is wrong with it.
func swapIDs(b []byte) (parts [][]byte, ids callIDs, err error) {
	at := skipSpace(b, 0)
	if at < len(b) && b[at] == '[' {
		return swapBatch(b, at)
	}
	if at == len(b) || b[at] != '{' {
		return [][]byte{b}, nil, nil
	}
	e, err := readEnvelope(b, at)
	if err != nil {
		return [][]byte{b}, nil, nil
	}
	raw, err := e.id(b)
	if raw == nil || err != nil {
		return [][]byte{b}, nil, err
	}
	return e.replaced(b, 0, len(b), ownID(0)), callIDs{raw}, nil
}

func swapBatch(b []byte, at int) (parts [][]byte, ids callIDs, err error) {
	from := 0
	for i, calls := at+1, 0; ; {
		if i = skipSpace(b, i); i >= len(b) || b[i] != '{' {
			return [][]byte{b}, nil, nil
		}
		if calls++; calls > maxBatch {
			return nil, nil, fmt.Errorf("more than %d calls in one request", maxBatch)
		}
		e, err := readEnvelope(b, i)
		if err != nil {
			return [][]byte{b}, nil, nil
		}
		raw, err := e.id(b)
		if err != nil {
			return nil, nil, err
		}
		if raw != nil {
			parts = append(parts, e.replaced(b, from, e.end, ownID(uint64(len(ids))))...)
			ids, from = append(ids, raw), e.end
		}
		if i = skipSpace(b, e.end); i >= len(b) || b[i] != ',' {
			return append(parts, b[from:]), ids, nil
		}
		i++
	}
}

// joined reads parts one after the other.
func joined(parts [][]byte) io.ReadCloser {
	rs := make([]io.Reader, len(parts))
	for i, p := range parts {
		rs[i] = bytes.NewReader(p)
	}
	return io.NopCloser(io.MultiReader(rs...))
}

// answerWriter puts ids back into an answer.
type answerWriter struct {
	http.ResponseWriter
	restorer restorer
}

// Write implements http.ResponseWriter.
func (w *answerWriter) Write(p []byte) (int, error) {
	looked := 0
	if !w.restorer.done {
		var out []byte
		out, looked = w.restorer.feed(make([]byte, 0, min(len(p), 4<<10)+maxOwn), p)
		if _, err := w.ResponseWriter.Write(out); err != nil {
			return 0, err
		}
	}
	if looked < len(p) {
		n, err := w.ResponseWriter.Write(p[looked:])
		return looked + n, err
	}
	return len(p), nil
}

// Unwrap lets http.ResponseController reach the connection.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
