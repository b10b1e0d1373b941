package pull

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"quarry/api"
)

func FuzzRenumbered(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"x","params":[]}`))
	f.Add([]byte(`{"id":null,"method":"x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, own, err := renumbered(b, 7)
		if err != nil {
			return
		}
		m := parse(out)
		if n, ok := numberOf(m); !ok || n != 7 || len(own) == 0 || m.Method == "" {
			t.Fatalf("%s became %s", b, out)
		}
		back, err := answerWith(message{Result: json.RawMessage("1")}, own)
		if err != nil || !bytes.Contains(back, []byte(`"result":1`)) {
			t.Fatalf("%s: %v", back, err)
		}
	})
}

// What a stranger says of itself is read or refused, and shown in one clean line.
func FuzzIntroduction(f *testing.F) {
	good, err := inHeader(introduction("here"))
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{good, "", "e30=", "bnVsbA==", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var in api.Introduction
		if fromHeader(s, &in) != nil {
			return
		}
		a := NewAcceptor(AcceptorConfig{}, AcceptorDeps{Meet: anyone})
		who := claimant(in)
		_, _ = a.admit(in, who) // without an instance it is refused
		if shown := who.String(); strings.ContainsAny(shown, "\n\r\x1b") || len(shown) > 600 {
			t.Fatalf("%q", shown)
		}
	})
}

func FuzzTake(f *testing.F) {
	for _, s := range []string{
		`{"id":1,"method":"x","params":[]}`, `{"method":"xrpc.cancel","params":[1]}`, `[]`,
		`{"id":{},"method":"y"}`, `{"ID":1,"Method":"z"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &wire{writing: make(chan struct{}, 1), gone: make(chan struct{})}
		close(w.gone)
		nothing := func(context.Context, []api.Permission, []byte) []byte { return nil }
		a := newAnswering(OpenerConfig{Calls: 2, MaxCall: 1 << 20, Answer: 1 << 20}, nothing, w)
		var calls sync.WaitGroup
		refused, err := a.take(t.Context(), b, &calls)
		calls.Wait()
		if err == nil && refused != nil && !json.Valid(refused) {
			t.Fatalf("%q is answered with %q", b, refused)
		}
		if len(a.running) != 0 || a.bytes != 0 {
			t.Fatalf("%q: %d calls, %d bytes are counted for ever", b, len(a.running), a.bytes)
		}
	})
}
