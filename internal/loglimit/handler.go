package loglimit

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Config of a limit; zero values are the defaults stated.
type Config struct {
	PerSource int           // lines of one text and source in a Window; 10
	PerText   int           // lines of one text in a Window; 100
	Window    time.Duration // 1 min
}

// maxKeys bounds what is remembered of a window.
const maxKeys = 4096

type limits struct {
	cfg Config

	mu      sync.Mutex
	begun   time.Time
	sources map[[2]string]int
	texts   map[string]int
	left    map[string]int // out, by text
}

// handler limits what reaches next.
type handler struct {
	next   slog.Handler
	limits *limits
	source string // from With
}

// New wraps a handler.
func New(next slog.Handler, cfg Config) slog.Handler {
	if cfg.PerSource <= 0 {
		cfg.PerSource = 10
	}
	if cfg.PerText <= 0 {
		cfg.PerText = 100
	}
	if cfg.Window <= 0 {
		cfg.Window = time.Minute
	}
	return &handler{next: next, limits: &limits{cfg: cfg, left: map[string]int{}}}
}

// Logger is New around the handler of a logger, with the defaults.
func Logger(log *slog.Logger) *slog.Logger { return slog.New(New(log.Handler(), Config{})) }

// Enabled implements slog.Handler.
func (h *handler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(as []slog.Attr) slog.Handler {
	out := &handler{next: h.next.WithAttrs(as), limits: h.limits, source: h.source}
	for _, a := range as {
		if s := sourceOf(a); s != "" {
			out.source = s
		}
	}
	return out
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{next: h.next.WithGroup(name), limits: h.limits, source: h.source}
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	source := h.source
	r.Attrs(func(a slog.Attr) bool {
		if s := sourceOf(a); s != "" {
			source = s
		}
		return true
	})
	if source == "" {
		return h.next.Handle(ctx, r)
	}
	left, ok := h.limits.pass(r.Time, r.Message, source)
	if !ok {
		return nil
	}
	if left > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("left_out_before", left))
	}
	return h.next.Handle(ctx, r)
}

// sourceOf is who a line is about: a host without its port, or a peer.
func sourceOf(a slog.Attr) string {
	switch a.Key {
	case "remote":
		s := a.Value.String()
		if host, _, err := net.SplitHostPort(s); err == nil {
			return host
		}
		return s
	case "peer":
		return a.Value.String()
	}
	return ""
}

// pass counts a line and tells whether it is written, and how many of its text
// were not since the last one that was.
func (l *limits) pass(now time.Time, text, source string) (left int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sources == nil || now.Sub(l.begun) >= l.cfg.Window || now.Before(l.begun) || len(l.left) > maxKeys {
		if len(l.left) > maxKeys {
			l.left = map[string]int{}
		}
		l.begun, l.sources, l.texts = now, map[[2]string]int{}, map[string]int{}
	}
	key := [2]string{text, source}
	if l.texts[text] >= l.cfg.PerText || l.sources[key] >= l.cfg.PerSource || len(l.sources) >= maxKeys {
		l.left[text]++
		return 0, false
	}
	l.texts[text]++
	l.sources[key]++
	left = l.left[text]
	delete(l.left, text)
	return left, true
}
