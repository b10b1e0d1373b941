package breaker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"quarry/internal/lifecycle"
)

// A call that panics is an error of its caller; the key is as well as before.
func TestPanicOfACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMount(1)
		for range 3 {
			err := m.b.Do(t.Context(), "a", limit, func(context.Context) error { panic("index out of range") })
			var caught *lifecycle.PanicError
			if !errors.As(err, &caught) || caught.What != "a call of a" || caught.Value != "index out of range" {
				t.Fatalf("got %v", err)
			}
		}
		if err := m.quick(); err != nil || m.b.Hung("a") != nil {
			t.Errorf("the next call: %v", err)
		}
	})
}
