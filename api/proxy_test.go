package api

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
)

func proxies() []any {
	return []any{
		new(ChainStruct), new(ChainToolsStruct), new(NodeStruct), new(DevnetStruct), new(CommonStruct), new(NetStruct), new(IndexStruct),
		new(LeasesStruct), new(TasksStruct), new(FleetStruct), new(ProverStruct), new(SealingStruct), new(MiningStruct), new(MarketsStruct),
	}
}

func TestEveryMethodHasPermission(t *testing.T) {
	for _, p := range proxies() {
		in := reflect.TypeOf(p).Elem().Field(0).Type
		if in.NumField() == 0 {
			t.Errorf("%T has no methods", p)
		}
		for i := range in.NumField() {
			f := in.Field(i)
			if perm := Permission(f.Tag.Get("perm")); !slices.Contains(AllPermissions, perm) {
				t.Errorf("%T.%s: unknown permission %q", p, f.Name, perm)
			}
		}
	}
}

// Every method of an unfilled proxy answers an error instead of panicking.
func TestUnfilledProxyAnswers(t *testing.T) {
	for _, p := range proxies() {
		v := reflect.ValueOf(p)
		for i := range v.NumMethod() {
			mt := v.Method(i).Type()
			args := []reflect.Value{reflect.ValueOf(context.Background())}
			for j := 1; j < mt.NumIn(); j++ {
				args = append(args, reflect.Zero(mt.In(j)))
			}
			out := v.Method(i).Call(args)
			err, _ := out[len(out)-1].Interface().(error)
			var un *ErrUnreachable
			if !errors.As(err, &un) {
				t.Errorf("%T.%s: got %v", p, v.Type().Method(i).Name, err)
			}
		}
	}
}

// A method name means one thing on the wire, except where a full node and a
// miner answer the same question.
func TestNamesDoNotCollide(t *testing.T) {
	shared := map[string]bool{"Version": true, "Session": true, "Shutdown": true, "ID": true, "NetPeers": true}
	seen := map[string]string{}
	for _, p := range proxies() {
		typ := reflect.TypeOf(p).Elem()
		in := typ.Field(0).Type
		for i := range in.NumField() {
			n := in.Field(i).Name
			if other, ok := seen[n]; ok && !shared[n] {
				t.Errorf("%s is in %s and %s", n, other, typ.Name())
			}
			seen[n] = typ.Name()
		}
	}
}

// A part that is built anew is looked up at every call, and its absence is the
// answer of every method.
func TestLateParts(t *testing.T) {
	gone := errors.New("it does not run")
	for _, late := range []any{&NetLate{Get: func() (Net, error) { return nil, gone }},
		&SealingLate{Get: func() (Sealing, error) { return nil, gone }},
		&MiningLate{Get: func() (Mining, error) { return nil, gone }}, &MarketsLate{Get: func() (Markets, error) { return nil, gone }}} {
		v := reflect.ValueOf(late)
		for i := range v.NumMethod() {
			mt := v.Method(i).Type()
			args := []reflect.Value{reflect.ValueOf(context.Background())}
			for j := 1; j < mt.NumIn(); j++ {
				args = append(args, reflect.Zero(mt.In(j)))
			}
			out := v.Method(i).Call(args)
			if err, _ := out[len(out)-1].Interface().(error); !errors.Is(err, gone) {
				t.Errorf("%T.%s: got %v", late, v.Type().Method(i).Name, err)
			}
		}
	}
	calls := 0
	first, second := new(SealingStruct), new(SealingStruct)
	first.Internal.ActorAddress = func(context.Context) (string, error) { return "first", nil }
	second.Internal.ActorAddress = func(context.Context) (string, error) { return "second", nil }
	late := &SealingLate{Get: func() (Sealing, error) { calls++; return []Sealing{first, second}[calls-1], nil }}
	for _, want := range []string{"first", "second"} {
		if got, err := late.ActorAddress(t.Context()); got != want || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
}
