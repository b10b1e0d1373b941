package httpx

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"quarry/internal/printable"
)

// question is what was asked for: bytes from an offset on.
type question struct {
	off    int64
	ranged bool      // a Range was sent
	want   validator // of the bytes before off
	size   int64     // 0 = not known
	parts  bool      // only parts are wanted, not all at once
}

// answer is what came: bytes [start, end) of total. A length may be unknown.
type answer struct {
	start, end, total int64
	validator         validator
	partial           bool // it is an answer to a range
	host              string
	trailer           func() http.Header // once the body has been read
	body              io.ReadCloser
}

// verdict is a refusal: permanent when the server repeats it.
func verdict(host, what string, err error) *Error {
	return &Error{Fault: FaultServer, Host: host, verdict: what, Err: err}
}

// errRange marks answers after which ranges of the server are not believed.
var errRange = errors.New("no usable range")

// judge sorts an answer; the *Error, if any, says what may be tried next. An answer
// that is refused is closed.
func judge(res *http.Response, q question, now time.Time) (*answer, *Error) {
	a := &answer{
		end:       unknown,
		total:     unknown,
		validator: validatorOf(res.Header),
		host:      res.Request.URL.Host,
		partial:   res.StatusCode == http.StatusPartialContent,
		trailer:   func() http.Header { return res.Trailer },
		body:      res.Body,
	}
	var e *Error
	switch enc := res.Header.Get("Content-Encoding"); {
	case res.StatusCode != http.StatusOK && res.StatusCode != http.StatusPartialContent:
		e = notContent(res, q, now)
	case enc != "" && !strings.EqualFold(enc, "identity"):
		e = verdict(a.host, "encoding", fmt.Errorf("Content-Encoding %s was not asked for",
			printable.Quote(enc))) //nolint:staticcheck // the header's name
	case res.StatusCode == http.StatusOK:
		e = a.all(res, q)
	default:
		e = a.part(res, q)
	}
	if e != nil {
		_ = res.Body.Close()
		e.Offset = q.off
		return nil, e
	}
	return a, nil
}

// all takes an answer that holds everything, from byte 0.
func (a *answer) all(res *http.Response, q question) *Error {
	if q.parts && q.off > 0 { // If-Range did not hold, or ranges are gone
		return changed(a.host, "the server answered with everything")
	}
	if res.ContentLength >= 0 {
		a.end, a.total = res.ContentLength, res.ContentLength
	}
	return a.sized(q)
}

// part takes an answer to a range.
func (a *answer) part(res *http.Response, q question) *Error {
	if ct := res.Header.Get("Content-Type"); len(ct) >= 10 && strings.EqualFold(ct[:10], "multipart/") {
		return badRange(a.host, q, fmt.Errorf("a multipart answer (Content-Type %s)", printable.Quote(ct)))
	}
	cr, err := parseContentRange(res.Header.Get("Content-Range"))
	if err != nil {
		return badRange(a.host, q, err)
	}
	told := fmt.Errorf("asked for bytes from %d, server answered Content-Range %s", q.off, printable.Quote(res.Header.Get("Content-Range")))
	if cr.start != q.off || q.size == 0 && cr.total == unknown || res.ContentLength >= 0 && res.ContentLength != cr.end-cr.start {
		return badRange(a.host, q, told)
	}
	a.start, a.end, a.total = cr.start, cr.end, cr.total
	if q.off > 0 && !q.want.sameAs(a.validator) {
		return changed(a.host, "its validator differs")
	}
	return a.sized(q)
}

// sized compares lengths. At byte 0 the server is refused; later it has other
// bytes now.
func (a *answer) sized(q question) *Error {
	n := max(a.total, a.end)
	if n <= maxBytes && (q.size == 0 || a.total == q.size || a.total == unknown && n <= q.size) {
		return nil
	}
	if a.start > 0 {
		return changed(a.host, fmt.Sprintf("it has %d bytes", n))
	}
	if q.size == 0 {
		return verdict(a.host, "length", fmt.Errorf("%w: %d bytes are too many", ErrLength, n))
	}
	return verdict(a.host, "length", fmt.Errorf("%w: the server has %d bytes, agreed were %d", ErrLength, n, q.size))
}

func changed(host, how string) *Error {
	return &Error{Fault: FaultServer, Host: host, again: true, Err: fmt.Errorf("%w: %s", ErrChanged, how)}
}

// badRange is a reason to ask without Range; when none was sent, a refusal.
func badRange(host string, q question, err error) *Error {
	if !q.ranged {
		return verdict(host, "range", err)
	}
	return &Error{Fault: FaultServer, Host: host, again: true, Err: fmt.Errorf("%w: %w", errRange, err)}
}

// notContent sorts 416, where the total tells whether the bytes are still the same,
// from all other refusals.
func notContent(res *http.Response, q question, now time.Time) *Error {
	if res.StatusCode != http.StatusRequestedRangeNotSatisfiable || !q.ranged {
		return judgeStatus(res, now)
	}
	cr, err := parseContentRange(res.Header.Get("Content-Range"))
	if q.off > 0 && (err != nil || cr.total <= q.off || q.size > 0 && cr.total != q.size) {
		return changed(res.Request.URL.Host, "it ends before")
	}
	return badRange(res.Request.URL.Host, q, fmt.Errorf("server answered %s to a range", printable.Quote(res.Status)))
}

// judgeStatus sorts statuses without content into those that pass and refusals.
func judgeStatus(res *http.Response, now time.Time) *Error {
	text := ""
	if b, _ := io.ReadAll(io.LimitReader(res.Body, 200)); len(b) > 0 && res.StatusCode >= 300 {
		text = ": " + printable.Quote(strings.TrimSpace(string(b)))
	}
	e := &Error{
		Fault:  FaultServer,
		Host:   res.Request.URL.Host,
		Status: res.StatusCode,
		Err:    fmt.Errorf("server answered %s%s", printable.Quote(res.Status), text),
		after:  retryAfter(res.Header, now),
	}
	switch c := res.StatusCode; c {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
	default:
		if c < 500 {
			e.verdict = fmt.Sprint("status ", c)
		}
	}
	return e
}
