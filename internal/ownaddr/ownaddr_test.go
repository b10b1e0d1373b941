package ownaddr

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
)

func addrs(list ...string) func() ([]net.Addr, error) {
	return func() ([]net.Addr, error) {
		var out []net.Addr
		for _, s := range list {
			ip, n, err := net.ParseCIDR(s)
			if err != nil {
				return nil, err
			}
			out = append(out, &net.IPNet{IP: ip, Mask: n.Mask})
		}
		return out, nil
	}
}

var errNoRoute = errors.New("no route")

func routes(table map[string]string) func(context.Context, string) (netip.Addr, error) {
	return func(_ context.Context, to string) (netip.Addr, error) {
		if from, ok := table[to]; ok {
			return netip.ParseAddr(from)
		}
		return netip.Addr{}, errNoRoute
	}
}

// A listener on every address is told under one that can be dialled, one on an
// address of its own under that.
func TestForOthers(t *testing.T) {
	machine := addrs("127.0.0.1/8", "fe80::1/64", "169.254.1.1/16", "2001:db8:1::5/64", "10.0.0.5/24", "192.168.7.5/24")
	byRoute := map[string]string{"192.0.2.1:9": "192.168.7.5", "10.0.0.9:2345": "10.0.0.5", "127.0.0.1:2345": "127.0.0.1"}
	for name, c := range map[string]struct {
		cfg  Config
		want Choice
	}{
		"own":              {Config{Bound: "10.1.2.3:80"}, Choice{HostPort: "10.1.2.3:80"}},
		"name":             {Config{Bound: "node.example:80"}, Choice{HostPort: "node.example:80"}},
		"loopback":         {Config{Bound: "127.0.0.1:80"}, Choice{HostPort: "127.0.0.1:80", Local: true}},
		"loopback 6":       {Config{Bound: "[::1]:80"}, Choice{HostPort: "[::1]:80", Local: true}},
		"localhost":        {Config{Bound: "localhost:80"}, Choice{HostPort: "localhost:80", Local: true}},
		"towards the peer": {Config{Bound: "0.0.0.0:80", Peer: "10.0.0.9:2345"}, Choice{HostPort: "10.0.0.5:80", Guessed: true}},
		"peer is here":     {Config{Bound: "[::]:80", Peer: "127.0.0.1:2345"}, Choice{HostPort: "192.168.7.5:80", Guessed: true}},
		"default route":    {Config{Bound: "[::]:80"}, Choice{HostPort: "192.168.7.5:80", Guessed: true}},
		"mapped":           {Config{Bound: "[::ffff:0.0.0.0]:80"}, Choice{HostPort: "192.168.7.5:80", Guessed: true}},
		"no host":          {Config{Bound: ":80"}, Choice{HostPort: "192.168.7.5:80", Guessed: true}},
		"route of IPv6": {Config{Bound: "[::]:80", Route: routes(map[string]string{"[2001:db8::1]:9": "2001:db8:1::5"})},
			Choice{HostPort: "[2001:db8:1::5]:80", Guessed: true}},
		"no route": {Config{Bound: "[::]:80", Route: routes(nil)}, Choice{HostPort: "10.0.0.5:80", Guessed: true}},
		"only IPv6": {Config{Bound: "[::]:80", Route: routes(nil), Addrs: addrs("::1/128", "2001:db8:1::5/64")},
			Choice{HostPort: "[2001:db8:1::5]:80", Guessed: true}},
		"alone": {Config{Bound: "0.0.0.0:80", Route: routes(nil), Addrs: addrs("127.0.0.1/8", "fe80::1/64", "169.254.1.1/16")},
			Choice{HostPort: "127.0.0.1:80", Guessed: true, Local: true}},
		"blind": {Config{Bound: "0.0.0.0:80", Route: routes(nil), Addrs: func() ([]net.Addr, error) { return nil, errNoRoute }},
			Choice{HostPort: "127.0.0.1:80", Guessed: true, Local: true}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.cfg.Addrs == nil {
				c.cfg.Addrs = machine
			}
			if c.cfg.Route == nil {
				c.cfg.Route = routes(byRoute)
			}
			if got := ForOthers(t.Context(), c.cfg); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func TestOnThisHost(t *testing.T) {
	for bound, want := range map[string]string{
		"0.0.0.0:80": "127.0.0.1:80", "[::]:80": "127.0.0.1:80", ":80": "127.0.0.1:80", "10.0.0.5:80": "10.0.0.5:80",
		"[::1]:80": "[::1]:80", "bad": "bad",
	} {
		if got := OnThisHost(bound); got != want {
			t.Errorf("%s: %s, want %s", bound, got, want)
		}
	}
	if hasIPv4(addrs("::1/128")) || !hasIPv4(addrs("::1/128", "10.0.0.1/8")) ||
		!hasIPv4(func() ([]net.Addr, error) { return nil, errNoRoute }) {
		t.Error("whether the machine has IPv4")
	}
}

// What is chosen on this machine can be dialled.
func TestTheChoiceIsReached(t *testing.T) {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, at := range []string{ForOthers(t.Context(), Config{Bound: l.Addr().String()}).HostPort, OnThisHost(l.Addr().String())} {
		conn, err := net.Dial("tcp", at)
		if err != nil {
			t.Errorf("%s: %v", at, err)
			continue
		}
		conn.Close()
	}
}
