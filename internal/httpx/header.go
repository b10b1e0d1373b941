package httpx

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"quarry/internal/printable"
)

const (
	unknown    = -1      // a length that was not told
	maxBytes   = 2 << 40 // of anything that is fetched here
	maxETag    = 512     // bytes
	maxSeconds = 1 << 31 // of Retry-After, before it is bounded
)

// contentRange is [start, end) of total bytes; total may be unknown. A 416 names
// the total alone.
type contentRange struct{ start, end, total int64 }

// Span is what an answer holds: bytes [Start, End) of Total.
type Span struct{ Start, End, Total int64 }

// parseContentRange reads "bytes 0-9/10", "bytes 0-9/*" and "bytes */10". The unit
// has no case; "=" instead of the space is written by some servers.
func parseContentRange(h string) (contentRange, error) {
	bad := fmt.Errorf("Content-Range %s is not understood", printable.Quote(h)) //nolint:staticcheck // the header's name
	h = strings.TrimSpace(h)
	if len(h) < 6 || !strings.EqualFold(h[:5], "bytes") || !strings.ContainsRune(" \t=", rune(h[5])) {
		return contentRange{}, bad
	}
	span, all, ok := strings.Cut(strings.TrimSpace(h[6:]), "/")
	if !ok {
		return contentRange{}, bad
	}
	out := contentRange{start: unknown, end: unknown, total: unknown}
	if all != "*" {
		if out.total, ok = parseLength(all); !ok {
			return contentRange{}, bad
		}
	}
	if span == "*" {
		if out.total == unknown {
			return contentRange{}, bad
		}
		return out, nil
	}
	first, last, ok := strings.Cut(span, "-")
	a, okA := parseLength(first)
	z, okZ := parseLength(last)
	if !ok || !okA || !okZ || z < a || out.total != unknown && z >= out.total {
		return contentRange{}, bad
	}
	out.start, out.end = a, z+1
	return out, nil
}

// SpanOf tells which bytes an answer of Do holds, and of how many. An answer that
// does not say is an error.
func SpanOf(res *http.Response) (Span, error) {
	if res.StatusCode == http.StatusPartialContent {
		cr, err := parseContentRange(res.Header.Get("Content-Range"))
		if err == nil && (cr.total == unknown || cr.start == unknown) {
			err = fmt.Errorf("%w: Content-Range %s", ErrLength,
				printable.Quote(res.Header.Get("Content-Range"))) //nolint:staticcheck // the header's name
		}
		return Span{Start: cr.start, End: cr.end, Total: cr.total}, err
	}
	if res.ContentLength < 0 || res.ContentLength > maxBytes {
		return Span{}, fmt.Errorf("%w: Content-Length %d", ErrLength, res.ContentLength) //nolint:staticcheck // the header's name
	}
	return Span{End: res.ContentLength, Total: res.ContentLength}, nil
}

// parseLength reads digits only.
func parseLength(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n <= maxBytes
}

// retryAfter reads seconds or a date. A date is measured by the server's own
// clock when it sent it. 0 = nothing usable was asked for.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v != "" && strings.Trim(v, "0123456789") == "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n > maxSeconds {
			n = maxSeconds
		}
		return time.Duration(n) * time.Second
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	if sent, err := http.ParseTime(h.Get("Date")); err == nil {
		now = sent
	}
	return max(0, min(at.Sub(now), maxSeconds*time.Second))
}

// validator tells whether two answers are about the same bytes.
type validator struct {
	ETag         string `json:",omitempty"` // strong, with its quotes
	LastModified string `json:",omitempty"`
	Dated        bool   `json:",omitempty"` // LastModified is old enough to be strong
}

// validatorOf takes strong ETags only; a Last-Modified is strong when it is at
// least a second older than the answer (RFC 9110 §8.8.2.2).
func validatorOf(h http.Header) validator {
	var v validator
	if e := h.Get("ETag"); strongETag(e) {
		v.ETag = e
	}
	lm, err := http.ParseTime(h.Get("Last-Modified"))
	if err != nil {
		return v
	}
	v.LastModified = h.Get("Last-Modified")
	sent, err := http.ParseTime(h.Get("Date"))
	v.Dated = err == nil && sent.Sub(lm) >= time.Second
	return v
}

func strongETag(e string) bool {
	if len(e) < 2 || len(e) > maxETag || e[0] != '"' || e[len(e)-1] != '"' {
		return false
	}
	for _, c := range []byte(e[1 : len(e)-1]) {
		if c <= ' ' || c == '"' || c == 0x7f {
			return false
		}
	}
	return true
}

// ifRange is what If-Range may carry; "" = nothing strong is known.
func (v validator) ifRange() string {
	if v.ETag != "" {
		return v.ETag
	}
	if v.Dated {
		return v.LastModified
	}
	return ""
}

// sameAs tells whether a partial answer can be about the bytes of v. A strong ETag
// must come again with each part (RFC 9110 §15.3.7); a date may be left out.
func (v validator) sameAs(now validator) bool {
	if v.ETag != "" {
		return v.ETag == now.ETag
	}
	return v.LastModified == "" || now.LastModified == "" || v.LastModified == now.LastModified
}

// valid refuses what could not have come from validatorOf.
func (v validator) valid() bool {
	_, err := http.ParseTime(v.LastModified)
	return (v.ETag == "" || strongETag(v.ETag)) && (err == nil || v.LastModified == "" && !v.Dated)
}
