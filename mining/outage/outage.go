package outage

import (
	"errors"
	"log/slog"
	"sync"

	"quarry/api"
)

// Watch knows whether the node was away when last heard of. The zero value says
// that it was not. It is safe for concurrent use.
type Watch struct {
	mu   sync.Mutex
	away bool
}

// Level is the level at which to log err, the failure of a step that will be
// repeated: a warning, unless err says that a process is away (api.ErrUnreachable)
// and that was said since the last Back.
func (w *Watch) Level(err error) slog.Level {
	var gone *api.ErrUnreachable
	if !errors.As(err, &gone) {
		return slog.LevelWarn
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return slog.LevelDebug
	}
	w.away = true
	return slog.LevelWarn
}

// Back is told whenever the node has answered; it is whether that ends an outage.
func (w *Watch) Back() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.away
	w.away = false
	return was
}
