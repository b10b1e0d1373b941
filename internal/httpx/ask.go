package httpx

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"quarry/internal/printable"
)

// Source is where bytes come from.
type Source struct {
	URL    string
	Header http.Header   // sent to the URL's own server only; Host names a virtual one
	Bearer func() string // asked at each request; nil or "" = none

	Size    int64   // exact number of bytes; 0 = the server says it
	Segment int64   // the most bytes asked for at once; 0 = all that is missing
	Digest  *Digest // of each answer; nil = none
}

// own are headers that the reader sets itself; a caller's would spoil it.
var own = []string{
	"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since",
	"Accept-Encoding", "Connection", "Upgrade", "Expect", "Te",
}

// CheckURL refuses what can never be asked, as the caller's fault.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return refuse("URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return refuse("URL %s is not http(s)://host/...", printable.Quote(u.Redacted()))
	}
	return nil
}

func refuse(format string, args ...any) *Error {
	return &Error{Fault: FaultCaller, Host: "request", Permanent: true, Err: fmt.Errorf(format, args...)}
}

// check refuses headers that would be refused later, or end up elsewhere.
func (s Source) check() error {
	if err := CheckURL(s.URL); err != nil {
		return err
	}
	if s.Size < 0 || s.Size > maxBytes || s.Segment < 0 {
		return refuse("size %d, segment %d: out of bounds", s.Size, s.Segment)
	}
	for k, vs := range s.Header {
		if !isToken(k) {
			return refuse("header name %s", printable.Quote(k))
		}
		for _, v := range vs {
			if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
				return refuse("value of header %s has control characters", k)
			}
		}
	}
	if h := s.Header.Get("Host"); strings.ContainsAny(h, " /\\@?#\t") {
		return refuse("header Host %s", printable.Quote(h))
	}
	return nil
}

func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune("()<>@,;:\\\"/[]?={}", r)
	})
}

// Do makes one request and gives an answer of the 2xx kind, whose body ends with
// an error when it is silent for too long. Others become an *Error with Status.
func (c *Client) Do(ctx context.Context, method string, s Source, extra http.Header) (*http.Response, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	res, err := c.ask(ctx, method, s, extra)
	if err != nil {
		return nil, err
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		defer res.Body.Close() //nolint:errcheck // read only
		return nil, judgeStatus(res, time.Now())
	}
	return res, nil
}

// ask makes a request and follows redirects. The caller's headers go to the
// caller's origin; once left, it is never trusted again on this way, as whoever
// sends back chooses the path.
func (c *Client) ask(ctx context.Context, method string, s Source, extra http.Header) (*http.Response, error) {
	to, err := url.Parse(s.URL)
	if err != nil {
		return nil, refuse("URL: %w", err)
	}
	from, home := to, true
	for hops := 0; ; hops++ {
		home = home && sameOrigin(from, to)
		res, err := c.send(ctx, method, to, s.headers(home, extra))
		if err != nil {
			return nil, err
		}
		if !isRedirect(res.StatusCode) || res.Header.Get("Location") == "" {
			return res, nil
		}
		_ = res.Body.Close()
		place := res.Header.Get("Location")
		if hops >= c.cfg.Redirects {
			err := fmt.Errorf("more than %d redirects; the next goes to %s", c.cfg.Redirects, printable.Quote(place))
			return nil, verdict(to.Host, "redirects", err)
		}
		next, err := to.Parse(place)
		if err != nil || next.Hostname() == "" || next.Scheme != "http" && next.Scheme != "https" {
			err := fmt.Errorf("a redirect to scheme other than http(s), or to no host: %s", printable.Quote(place))
			return nil, verdict(to.Host, "redirect", err)
		}
		from, to = to, next
	}
}

func isRedirect(code int) bool {
	return code == 301 || code == 302 || code == 303 || code == 307 || code == 308
}

// sameOrigin also takes the step from http to https of one host.
func sameOrigin(a, b *url.URL) bool {
	if !strings.EqualFold(a.Hostname(), b.Hostname()) {
		return false
	}
	return a.Scheme == b.Scheme && port(a) == port(b) || a.Scheme == "http" && b.Scheme == "https" && port(a) == "80" && port(b) == "443"
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

// headers of a request; home = to the server that the caller named.
func (s Source) headers(home bool, extra http.Header) http.Header {
	h := http.Header{}
	if home && s.Header != nil {
		h = s.Header.Clone()
		for _, k := range own {
			h.Del(k)
		}
	}
	if home && s.Bearer != nil && h.Get("Authorization") == "" {
		if t := s.Bearer(); t != "" {
			h.Set("Authorization", "Bearer "+t)
		}
	}
	for k, v := range extra {
		h[k] = v
	}
	h.Set("Accept-Encoding", "identity")
	return h
}

func (c *Client) send(ctx context.Context, method string, to *url.URL, h http.Header) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, method, to.String(), nil)
	if err != nil {
		cancel(nil)
		return nil, refuse("request: %w", err)
	}
	req.Host = h.Get("Host") // "" = the URL's
	h.Del("Host")
	req.Header = h
	if u := to.User; u != nil && h.Get("Authorization") == "" {
		password, _ := u.Password()
		req.SetBasicAuth(u.Username(), password)
	}
	res, err := c.http.RoundTrip(req) // no client: it would follow, remember and repeat
	if err != nil {
		e := unanswered(ctx, to.Host, err)
		cancel(nil)
		return nil, e
	}
	timer := time.AfterFunc(c.cfg.Stall, func() { cancel(fmt.Errorf("no data for %s", c.cfg.Stall)) })
	timer.Stop()
	res.Body = &watched{
		ReadCloser: res.Body,
		ctx:        ctx,
		stall:      c.cfg.Stall,
		timer:      timer,
		cancel:     cancel,
	}
	return res, nil
}

// unanswered sorts why there is no answer.
func unanswered(ctx context.Context, host string, err error) *Error {
	e := &Error{Fault: FaultNetwork, Host: host, Err: noEOF(err)}
	if r := new(refusedAddr); errors.As(err, &r) {
		e.Fault, e.Permanent = FaultCaller, true
	}
	if c := new(tls.CertificateVerificationError); errors.As(err, &c) {
		e.Fault, e.verdict = FaultServer, "certificate"
	}
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		e.Err = stopped(ctx, e.Err)
	}
	return e
}

// watched ends its request when a Read waits too long for a byte. Between Reads no
// time counts: a slow disk of ours is not the server's fault.
type watched struct {
	io.ReadCloser
	ctx    context.Context //nolint:containedctx // of the request, whose cause explains a broken body
	stall  time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(w.stall)
	n, err := w.ReadCloser.Read(p)
	w.timer.Stop()
	if cause := context.Cause(w.ctx); cause != nil && err != nil && !errors.Is(err, io.EOF) {
		err = cause
	}
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	err := w.ReadCloser.Close()
	w.cancel(nil)
	return err
}
