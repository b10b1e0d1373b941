package outage

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"quarry/api"
)

func TestWatch(t *testing.T) {
	gone := fmt.Errorf("epoch 7: %w", &api.ErrUnreachable{Peer: "node", Reason: "refused"})
	other := errors.New("no funds")
	var w Watch
	if w.Back() {
		t.Error("an outage ended that never began")
	}
	for i, step := range []struct {
		err  error
		want slog.Level
	}{
		{other, slog.LevelWarn}, {other, slog.LevelWarn},
		{gone, slog.LevelWarn}, {gone, slog.LevelDebug},
		{other, slog.LevelWarn}, {gone, slog.LevelDebug},
	} {
		if got := w.Level(step.err); got != step.want {
			t.Errorf("step %d (%v): %s, want %s", i, step.err, got, step.want)
		}
	}
	if !w.Back() || w.Back() {
		t.Error("the end of an outage is told once")
	}
	if got := w.Level(gone); got != slog.LevelWarn {
		t.Errorf("a second outage begins as %s", got)
	}
}
