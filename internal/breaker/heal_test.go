package breaker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestForgetBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMount(1)
		<-m.start(1)
		m.b.Forget("a")
		m.b.Forget("never seen")
		if err := m.quick(); err != nil {
			t.Errorf("after Forget: %v", err)
		}
		close(m.free)
		synctest.Wait()
	})
}

func TestForgetMovesTheLineOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMount(1)
		m.start(1)
		done := make(chan error, 1)
		go func() { done <- m.quick() }()
		synctest.Wait()
		m.b.Forget("a")
		synctest.Wait()
		if len(done) != 1 {
			t.Fatal("the caller in line still waits for the old mount")
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		close(m.free)
		synctest.Wait()
	})
}

// The watch finds a key well before anybody asks, and lets those alone that are.
func TestWatchHealsWithoutCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMount(1)
		<-m.start(1)
		other := m.b.Do(t.Context(), "b", limit, func(context.Context) error { <-m.free; return nil })
		if other == nil || m.b.Hung("b") == nil {
			t.Fatal("b is not hung")
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		var probed []string
		back := make(chan struct{})
		go func() {
			m.b.Watch(ctx, limit, func(key string) func(context.Context) error {
				if key != "a" {
					return nil
				}
				return func(context.Context) error {
					probed = append(probed, key)
					<-back
					return errors.New("whatever")
				}
			})
			close(ended)
		}()
		time.Sleep(retry + 1)
		synctest.Wait()
		if m.b.Hung("a") == nil || len(probed) != 1 || probed[0] != "a" {
			t.Errorf("probed %v", probed)
		}
		close(back)
		synctest.Wait()
		if m.b.Hung("a") != nil || m.b.Hung("b") == nil {
			t.Error("a is still hung, or b was probed")
		}
		time.Sleep(10 * retry)
		synctest.Wait()
		if len(probed) != 1 {
			t.Errorf("a healthy key was probed: %v", probed)
		}
		cancel()
		<-ended
		close(m.free)
		synctest.Wait()
	})
}
