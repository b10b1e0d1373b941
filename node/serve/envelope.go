package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

// maxIDBytes bounds the id of a call as it is written.
const maxIDBytes = 1024

// maxBatch bounds the calls of one request.
const maxBatch = 1000

var errNotJSON = errors.New("not a JSON object")

// span is a part of a message.
type span struct{ from, to int }

// envelope is what the edge reads of a JSON-RPC object. It is looser than the
// library, which reads the message afterwards.
type envelope struct {
	ids       []span // values of keys that mean id; the last one counts
	hasMethod bool
	isAnswer  bool // has a result or an error
	method    string
	params    span
	end       int // of the object
}

// readEnvelope reads the object that begins at b[at].
func readEnvelope(b []byte, at int) (e envelope, err error) {
	i := at + 1
	for first := true; ; first = false {
		i = skipSpace(b, i)
		if i < len(b) && b[i] == '}' && first {
			e.end = i + 1
			return e, nil
		}
		key, value, next, err := member(b, i)
		if err != nil {
			return e, err
		}
		e.note(b, key, value)
		switch i = skipSpace(b, next); {
		case i < len(b) && b[i] == ',':
			i++
		case i < len(b) && b[i] == '}':
			e.end = i + 1
			return e, nil
		default:
			return e, errNotJSON
		}
	}
}

// member reads one key with its value.
func member(b []byte, i int) (key string, value span, next int, err error) {
	if i >= len(b) || b[i] != '"' {
		return "", span{}, 0, errNotJSON
	}
	end, ok := skipString(b, i)
	if !ok {
		return "", span{}, 0, errNotJSON
	}
	key = text(b[i:end])
	if i = skipSpace(b, end); i >= len(b) || b[i] != ':' {
		return "", span{}, 0, errNotJSON
	}
	i = skipSpace(b, i+1)
	if next, ok = skipValue(b, i); !ok {
		return "", span{}, 0, errNotJSON
	}
	return key, span{i, next}, next, nil
}

// note keeps what is of interest, under every spelling the library takes.
func (e *envelope) note(b []byte, key string, value span) {
	switch {
	case strings.EqualFold(key, "id"):
		e.ids = append(e.ids, value)
	case strings.EqualFold(key, "method"):
		e.method, e.hasMethod = text(b[value.from:value.to]), true
	case strings.EqualFold(key, "result"), strings.EqualFold(key, "error"):
		e.isAnswer = true
	case strings.EqualFold(key, "params"):
		e.params = value
	}
}

// text is the string that raw means, empty when it is none.
func text(raw []byte) string {
	if len(raw) > 2 && raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// id is the call's id as it was written. It is nil where there is none, and an
// error where it is none.
func (e *envelope) id(b []byte) ([]byte, error) {
	if len(e.ids) == 0 {
		return nil, nil
	}
	s := e.ids[len(e.ids)-1]
	raw := b[s.from:s.to]
	if len(raw) > maxIDBytes {
		return nil, errors.New("the id is too long")
	}
	if c := raw[0]; c != '"' && c != '-' && (c < '0' || c > '9') && string(raw) != "null" || !json.Valid(raw) {
		return nil, errors.New("the id is neither a string nor a number nor null")
	}
	return bytes.Clone(raw), nil
}

// replaced is b[from:to] with every id of it being own, in parts.
func (e *envelope) replaced(b []byte, from, to int, own []byte) [][]byte {
	var out [][]byte
	for _, s := range e.ids {
		out = append(out, b[from:s.from], own)
		from = s.to
	}
	return append(out, b[from:to])
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// skipString passes the string that begins at b[i].
func skipString(b []byte, i int) (int, bool) {
	for i++; i < len(b); {
		q := bytes.IndexByte(b[i:], '"')
		if q < 0 {
			return 0, false
		}
		slashes := 0
		for k := i + q - 1; k >= i && b[k] == '\\'; k-- {
			slashes++
		}
		if i += q + 1; slashes%2 == 0 {
			return i, true
		}
		// An escaped quote: what stood before it is paired off.
	}
	return 0, false
}

// skipValue passes the value that begins at b[i].
func skipValue(b []byte, i int) (int, bool) {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			next, ok := skipString(b, i)
			if !ok {
				return 0, false
			}
			if i = next; depth == 0 {
				return i, true
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return 0, false
			}
			if depth == 0 {
				return i + 1, true
			}
		case ',', ':':
			if depth == 0 {
				return 0, false
			}
		default:
			if depth == 0 {
				return skipScalar(b, i)
			}
		}
		i++
	}
	return 0, false
}

func skipScalar(b []byte, i int) (int, bool) {
	n := bytes.IndexAny(b[i:], ",:]}{[\" \t\r\n")
	if n < 0 {
		return len(b), len(b) > i
	}
	return i + n, n > 0
}
