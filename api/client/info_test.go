package client

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"quarry/api"
)

func TestParseInfo(t *testing.T) {
	for in, want := range map[string]struct{ token, rpc, ws string }{
		"a.b.c:/ip4/127.0.0.1/tcp/1234/http":   {"a.b.c", "http://127.0.0.1:1234/rpc/v1", "ws://127.0.0.1:1234/rpc/v1"},
		"a.b.c:/ip6/::1/tcp/1234":              {"a.b.c", "http://[::1]:1234/rpc/v1", "ws://[::1]:1234/rpc/v1"},
		"a.b.:/dns4/node.example/tcp/443/wss":  {"a.b.", "https://node.example:443/rpc/v1", "wss://node.example:443/rpc/v1"},
		"/dns/node.example/tcp/443/tls/http":   {"", "https://node.example:443/rpc/v1", "wss://node.example:443/rpc/v1"},
		"a.b.c:https://node.example/sub/":      {"a.b.c", "https://node.example/sub/rpc/v1", "wss://node.example/sub/rpc/v1"},
		"a.b.c:ws://[2001:db8::1]:80":          {"a.b.c", "http://[2001:db8::1]:80/rpc/v1", "ws://[2001:db8::1]:80/rpc/v1"},
		"wss://node.example":                   {"", "https://node.example/rpc/v1", "wss://node.example/rpc/v1"},
		"http://127.0.0.1:1234":                {"", "http://127.0.0.1:1234/rpc/v1", "ws://127.0.0.1:1234/rpc/v1"},
		"127.0.0.1:1234":                       {"", "http://127.0.0.1:1234/rpc/v1", "ws://127.0.0.1:1234/rpc/v1"},
		"node.example.com:1234":                {"", "http://node.example.com:1234/rpc/v1", "ws://node.example.com:1234/rpc/v1"},
		"a.b.c:localhost:1234":                 {"a.b.c", "http://localhost:1234/rpc/v1", "ws://localhost:1234/rpc/v1"},
		"  a.b.c:/ip4/1.2.3.4/tcp/5\n":         {"a.b.c", "http://1.2.3.4:5/rpc/v1", "ws://1.2.3.4:5/rpc/v1"},
		"a.b.c:[::1]:1234":                     {"a.b.c", "http://[::1]:1234/rpc/v1", "ws://[::1]:1234/rpc/v1"},
		"eyJ-_0.eyJ.sig:/ip4/10.0.0.1/tcp/9/x": {},
	} {
		i, err := ParseInfo(in)
		if want.rpc == "" {
			if err == nil {
				t.Errorf("%q: accepted as %s", in, i)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if i.Token.Reveal() != want.token || i.URL("v1") != want.rpc || i.websocket("v1") != want.ws {
			t.Errorf("%q: %q %s %s", in, i.Token.Reveal(), i.URL("v1"), i.websocket("v1"))
		}
	}
}

func TestParseInfoRefusals(t *testing.T) {
	for _, in := range []string{"", " ", "a.b.c:", "ftp://x", "http://", "http://u:p@h", "http://h?x=1", "http://h#f", "/ip4/1.2.3.4/udp/1", "/ip4/1.2.3.4",
		"/unix/x", "a.b.c:http://sec ret", strings.Repeat("a", maxInfo+1)} {
		_, err := ParseInfo(in)
		var invalid *api.ErrInvalid
		if !errors.As(err, &invalid) {
			t.Errorf("%q: %v", in, err)
		}
	}
	if _, err := ParseInfo("a.b.hush:http://sec ret"); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("the token is in the error: %v", err)
	}
}

func TestNoConnectionNeeded(t *testing.T) {
	c, err := Miner(context.Background(), Config{Info: "a.b.c:/ip4/127.0.0.1/tcp/1/http", Name: "the sealing node"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Version(context.Background())
	var un *api.ErrUnreachable
	if !errors.As(err, &un) || un.Peer != "the sealing node" || strings.Contains(err.Error(), "a.b.c") {
		t.Fatalf("got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Version(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if _, err := Chain(context.Background(), Config{}); err == nil {
		t.Fatal("a client without an address")
	}
}

func FuzzParseInfo(f *testing.F) {
	for _, s := range []string{"a.b.c:/ip4/127.0.0.1/tcp/1234/http", "http://[::1]:1", "a.b.c:h:1", "/dns/x/tcp/1/tls"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		i, err := ParseInfo(s)
		if err != nil {
			return
		}
		for _, u := range []string{i.URL("v1"), i.websocket("v1")} {
			p, err := url.Parse(u)
			if err != nil || p.Host == "" || !strings.HasSuffix(p.Path, "/rpc/v1") {
				t.Fatalf("%q gives %q", s, u)
			}
		}
		if tok := i.Token.Reveal(); tok != "" && len(tok) > 6 && strings.Contains(i.String(), tok) {
			t.Fatalf("%q prints its token", s)
		}
	})
}
