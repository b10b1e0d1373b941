package apitest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"quarry/api"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, LibraryLeaks()...)
}

// failing answers with whatever error the test wants.
type failing struct {
	api.ChainStruct
	api.SealingStruct
	err func() error
}

func (f *failing) ChainHead(context.Context) (*api.TipSet, error) { return nil, f.err() }

func (f *failing) ChainNotify(context.Context) (<-chan []*api.HeadChange, error) {
	return nil, f.err()
}

func (f *failing) PledgeSector(context.Context) (abiSectorID, error) {
	return abiSectorID{}, f.err()
}

func TestEveryErrorCrosses(t *testing.T) {
	var current error
	impl := &failing{err: func() error { return current }}
	srv := Serve(t, Parts{Chain: impl, Sealing: impl})
	chain, miner := srv.Chain(t, AdminToken), srv.Miner(t, AdminToken)
	ctx := context.Background()
	ways := map[string]func() error{
		"in process": func() error { _, err := impl.ChainHead(ctx); return err },
		"http":       func() error { _, err := chain.ChainHead(ctx); return err },
		"http miner": func() error { _, err := miner.PledgeSector(ctx); return err },
		"websocket":  func() error { _, err := chain.ChainNotify(ctx); return err },
	}
	for code, proto := range api.ErrorTable() {
		want := filled(proto)
		for wrapping, err := range map[string]error{
			"bare":    want,
			"wrapped": fmt.Errorf("seal sector 7: %w", want),
			"joined":  errors.Join(errors.New("first"), fmt.Errorf("twice: %w", fmt.Errorf("wrapped: %w", want))),
		} {
			current = err
			for way, call := range ways {
				got := call()
				if got == nil || got.Error() != err.Error() {
					t.Errorf("%d %s %s: text %q, want %q", code, wrapping, way, got, err)
				}
				target := reflect.New(reflect.TypeOf(proto))
				if !errors.As(got, target.Interface()) || !reflect.DeepEqual(target.Elem().Interface(), want) {
					t.Errorf("%d %s %s: came as %#v", code, wrapping, way, got)
				}
				if api.IsTemporary(got) != api.IsTemporary(err) {
					t.Errorf("%d %s %s: temporary changed", code, wrapping, way)
				}
			}
		}
	}
}

// weird has its own idea of JSON; it must arrive as text.
type weird struct{}

func (*weird) Error() string                { return "weird" }
func (*weird) MarshalJSON() ([]byte, error) { return nil, errors.New("no") }
func (*weird) UnmarshalJSON([]byte) error   { return errors.New("no") }

func TestPlainErrorsAndPanics(t *testing.T) {
	var mode string
	impl := &failing{err: func() error {
		switch mode {
		case "panic":
			panic("a bug with a secret inside")
		case "weird":
			return &weird{}
		case "typed nil":
			var e *api.ErrBusy
			return fmt.Errorf("odd: %w", error(e))
		}
		return errors.New(mode)
	}}
	chain := Serve(t, Parts{Chain: impl}).Chain(t, AdminToken)
	for m, want := range map[string]string{"panic": "internal error", "weird": "weird", "plain text": "plain text"} {
		mode = m
		_, err := chain.ChainHead(context.Background())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", m, err)
		}
	}
	for _, c := range proxyCodes() {
		if c <= 100 && c != 4 && c != 11 { // Lotus's own codes for the same things
			t.Errorf("code %d is in Lotus's range", c)
		}
	}
}

func proxyCodes() []int {
	var out []int
	for c := range api.ErrorTable() {
		out = append(out, c)
	}
	return out
}

func TestAbsentSubsystems(t *testing.T) {
	where := "the private node"
	impl := &failing{err: func() error { return nil }}
	srv := Serve(t, Parts{Sealing: impl, Absent: map[api.Subsystem]string{
		api.SubsystemMarkets: where, api.SubsystemSectorStorage: where, api.SubsystemSealing: "never said"}})
	m := srv.Miner(t, AdminToken)
	ctx := context.Background()
	for name, c := range map[string]struct {
		call func() error
		sub  api.Subsystem
		by   string
	}{
		"absent":       {func() error { _, err := m.MarketGetAsk(ctx); return err }, api.SubsystemMarkets, where},
		"absent page":  {func() error { _, _, err := m.TaskList(ctx, "", 1); return err }, api.SubsystemSectorStorage, where},
		"absent net":   {func() error { _, err := m.NetPeers(ctx); return err }, api.SubsystemMarkets, where},
		"unregistered": {func() error { _, err := m.MiningStatus(ctx); return err }, api.SubsystemMining, "another process"},
	} {
		var e *api.ErrNotServedHere
		if err := c.call(); !errors.As(err, &e) || e.Subsystem != c.sub || e.Method == "" || !strings.Contains(e.ServedBy, c.by) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := m.PledgeSector(ctx); err != nil {
		t.Errorf("the present subsystem answers %v", err)
	}
}

func TestErrorsEncodeTheirFields(t *testing.T) {
	for code, proto := range api.ErrorTable() {
		want := filled(proto)
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got := reflect.New(reflect.TypeOf(proto).Elem()).Interface()
		if err := json.Unmarshal(b, got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%d: %s reads as %#v, %v", code, b, got, err)
		}
	}
}
