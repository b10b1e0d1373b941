package retrieve

import (
	"errors"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Media types that are served, and how ?format= names them.
const (
	typeRaw = "application/vnd.ipld.raw"
	typeCAR = "application/vnd.ipld.car"
)

// maxAccept bounds what is read of Accept headers: bytes of all, and media
// ranges.
const (
	maxAccept = 8 << 10
	maxRanges = 64
)

var (
	errNotAcceptable = errors.New("only raw blocks and CARs are served: ask for " + typeRaw + " or " + typeCAR +
		", by Accept or ?format=raw or car")
	errAcceptTooLong = errors.New("the Accept header is too long")
)

// negotiate chooses the media type of the answer, with its parameters: what
// ?format= names, else the type of the highest q. Of equal ones the first wins.
// What cannot be read of a header is passed over; q=0 refuses a type. Wildcards
// name neither of the two types, and so choose none.
func negotiate(r *http.Request) (string, error) {
	ranges, err := parseAccept(r.Header.Values("Accept"))
	if err != nil {
		return "", err
	}
	want := ""
	switch f := r.URL.Query().Get("format"); f {
	case "raw":
		want = typeRaw
	case "car":
		want = typeCAR
	case "tar", "json", "cbor", "dag-json", "dag-cbor", "ipns-record":
		return "", errNotAcceptable
	}
	best, odd := mediaRange{}, mediaRange{}
	for _, m := range ranges {
		if want != "" && want != m.name || m.name != typeRaw && m.name != typeCAR {
			continue
		}
		if into := pick(m.servable(), &best, &odd); m.q > into.q {
			*into = m
		}
	}
	if best.q == 0 {
		best = odd // the gateway says what is wrong with it
	}
	if best.q > 0 {
		return best.String(), nil
	}
	if want != "" {
		return want, nil
	}
	return "", errNotAcceptable
}

// mediaRange is one entry of an Accept header.
type mediaRange struct {
	name   string
	params map[string]string // without q
	q      float64
}

// String is the media type without its q; parameters that cannot be written are
// left out.
func (m mediaRange) String() string {
	if s := mime.FormatMediaType(m.name, m.params); s != "" {
		return s
	}
	return m.name
}

// servable tells whether the answer can have the parameters of a media range.
func (m mediaRange) servable() bool {
	if m.name == typeRaw {
		return true
	}
	known := map[string][]string{"version": {"1"}, "order": {"dfs", "unk"}, "dups": {"y", "n"}}
	for k, v := range m.params {
		if values, ok := known[k]; ok && v != "" && !slices.Contains(values, v) {
			return false
		}
	}
	return true
}

func pick[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}

// parseAccept reads Accept headers as RFC 9110, section 12.5.1, has them.
func parseAccept(headers []string) ([]mediaRange, error) {
	total := 0
	for _, h := range headers {
		total += len(h)
	}
	if total > maxAccept {
		return nil, errAcceptTooLong
	}
	var out []mediaRange
	for _, h := range headers {
		for _, item := range splitQuoted(h) {
			m, ok := parseRange(item)
			if !ok {
				continue
			}
			if out = append(out, m); len(out) > maxRanges {
				return nil, errAcceptTooLong
			}
		}
	}
	return out, nil
}

func parseRange(item string) (mediaRange, bool) {
	name, params, err := mime.ParseMediaType(item)
	if err != nil || !strings.Contains(name, "/") {
		return mediaRange{}, false
	}
	q := 1.0
	if s, ok := params["q"]; ok {
		if q, ok = parseQ(s); !ok {
			return mediaRange{}, false
		}
		params = maps.Clone(params)
		delete(params, "q")
	}
	return mediaRange{name: name, params: params, q: q}, true
}

// parseQ reads a weight: 0 to 1, with up to three digits behind the point.
func parseQ(s string) (float64, bool) {
	whole, frac, point := strings.Cut(s, ".")
	if whole != "0" && whole != "1" || len(frac) > 3 || strings.Trim(frac, "0123456789") != "" {
		return 0, false
	}
	if !point {
		frac = "0"
	}
	q, err := strconv.ParseFloat(whole+"."+frac, 64)
	return q, err == nil && q <= 1
}

// splitQuoted splits at commas outside quoted strings.
func splitQuoted(s string) []string {
	var out []string
	start, quoted, escaped := 0, false, false
	for i := range len(s) {
		c := s[i]
		if escaped {
			escaped = false
		} else if quoted && c == '\\' {
			escaped = true
		} else if c == '"' {
			quoted = !quoted
		} else if c == ',' && !quoted {
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return slices.DeleteFunc(append(out, s[start:]), func(p string) bool { return strings.TrimSpace(p) == "" })
}
