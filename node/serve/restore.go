package serve

import "bytes"

// maxOwn bounds what an id of ours, or the name of a message, takes.
const maxOwn = 64

// restorer puts the ids of callers back into answers while they are written. It
// looks at the members of the answer itself, never into results, and at nothing
// any more once the id was found.
type restorer struct {
	// id is given what an answer has as its id and returns what to write.
	id func(own []byte, failed bool) []byte

	begun, batch bool
	done         bool // nothing more to look at
	found        bool // the id was
	failed       bool // the answer is an error
	depth        int

	inString, escaped, isKey bool
	afterKey                 bool   // the next string of this level is a value
	key                      []byte // the member being read
	holding                  bool   // its value is kept back
	held                     []byte
}

// feed passes p on, appended to out, and returns how much of p was looked at:
// all, unless it is done.
func (r *restorer) feed(out, p []byte) ([]byte, int) {
	for i := 0; i < len(p); {
		if r.done {
			return out, i
		}
		if n := r.plain(p[i:]); n > 0 {
			out = append(out, p[i:i+n]...)
			i += n
			continue
		}
		out = r.one(out, p[i])
		i++
	}
	return out, len(p)
}

// plain is how much of p is the inside of a text that does not matter.
func (r *restorer) plain(p []byte) int {
	if !r.inString || r.escaped || r.isKey || r.holding {
		return 0
	}
	if n := bytes.IndexAny(p, `"\`); n >= 0 {
		return n
	}
	return len(p)
}

func (r *restorer) level() int {
	if r.batch {
		return 2
	}
	return 1
}

func (r *restorer) one(out []byte, c byte) []byte {
	if r.inString {
		r.string(c)
		return r.put(out, c)
	}
	switch c {
	case '"':
		r.inString, r.isKey = true, r.depth == r.level() && !r.afterKey
		if r.isKey {
			r.key = r.key[:0]
		}
	case ':':
		if r.depth == r.level() {
			r.afterKey = true
			out = append(out, c)
			r.member()
			return out
		}
	case ',', '}':
		if r.depth == r.level() {
			out = r.flush(out)
			r.afterKey = false
		}
	}
	r.nest(c)
	return r.put(out, c)
}

func (r *restorer) nest(c byte) {
	switch c {
	case '{', '[':
		if !r.begun {
			r.begun, r.batch = true, c == '['
		}
		r.depth++
	case '}', ']':
		if r.depth--; r.depth == r.level()-1 {
			r.failed = false // the next answer of a batch
		}
	}
}

// string follows the inside of a string.
func (r *restorer) string(c byte) {
	switch {
	case r.escaped:
		r.escaped = false
	case c == '\\':
		r.escaped = true
	case c == '"':
		r.inString = false
		return
	}
	if r.isKey && len(r.key) < maxOwn {
		r.key = append(r.key, c)
	}
}

// member begins the value of a key.
func (r *restorer) member() {
	switch string(r.key) {
	case "id":
		r.holding = true
	case "error":
		r.failed = true
	case "method": // not an answer
		r.done = !r.batch
	}
}

func (r *restorer) put(out []byte, c byte) []byte {
	if !r.holding {
		return append(out, c)
	}
	if r.held = append(r.held, c); len(r.held) > maxOwn {
		out, r.held, r.holding = append(out, r.held...), r.held[:0], false // not of ours
	}
	return out
}

func (r *restorer) flush(out []byte) []byte {
	if !r.holding {
		return out
	}
	out = append(out, r.id(bytes.TrimSpace(r.held), r.failed)...)
	r.held, r.holding, r.found = r.held[:0], false, true
	r.done = !r.batch
	return out
}
