package mining

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
)

// A half that panics or fails is begun again while the other works on, and its
// trouble is shown until then.
func TestOneHalfDoesNotEndTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := newIdle(t, dssync.MutexWrap(datastore.NewMapDatastore()))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		other, lives := 0, 0
		go m.keep(ctx, "window PoSt", func(ctx context.Context) error { other++; <-ctx.Done(); return ctx.Err() })
		go m.keep(ctx, "block production", func(ctx context.Context) error {
			switch lives++; lives {
			case 1:
				panic("index out of range")
			case 2:
				return errors.New("disk is gone")
			}
			<-ctx.Done()
			return ctx.Err()
		})
		for i, want := range []string{"index out of range", "disk is gone", ""} {
			synctest.Wait()
			st, err := m.ProvingStatus(ctx)
			if err != nil {
				t.Fatal(err)
			}
			shown := strings.Join(st.Alerts, "; ")
			if want == "" && shown != "" || !strings.Contains(shown, want) || want != "" &&
				!strings.Contains(shown, "block production has failed") {
				t.Errorf("life %d: alerts %q", i+1, shown)
			}
			time.Sleep(time.Duration(i+1) * time.Second)
		}
		synctest.Wait()
		if other != 1 || lives != 3 {
			t.Errorf("window PoSt began %d times, block production %d times", other, lives)
		}
		cancel()
		synctest.Wait()
	})
}
