package ownaddr

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"
)

// Everywhere tells whether a host of an address stands for every address of the
// machine.
func Everywhere(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.Unmap().IsUnspecified()
}

// OnThisHost is the host:port under which a program on the same machine reaches a
// listener that is bound to another: the loopback address where it is bound to all.
func OnThisHost(bound string) string {
	host, port, err := net.SplitHostPort(bound)
	if err != nil || !Everywhere(host) {
		return bound
	}
	// A listener on [::] takes IPv4 too, unless the machine has none.
	loopback := "127.0.0.1"
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() && !hasIPv4(net.InterfaceAddrs) {
		loopback = "::1"
	}
	return net.JoinHostPort(loopback, port)
}

// Config of a choice.
type Config struct {
	// Bound is the host:port of the listener.
	Bound string
	// Peer is the host:port of whoever is told: the address that packets to it come
	// from is chosen. Empty, or a host of this machine: the one of the default route.
	Peer string
	// Addrs are the addresses of the machine; net.InterfaceAddrs by default.
	Addrs func() ([]net.Addr, error)
	// Route is the address that packets to a host:port come from; the machine's by
	// default.
	Route func(ctx context.Context, to string) (netip.Addr, error)
}

// Choice is the address to tell others.
type Choice struct {
	HostPort string
	// Guessed is true where the listener is bound to every address: the operator
	// should name the one that others use.
	Guessed bool
	// Local is true where only this machine reaches the address.
	Local bool
}

// anywhere are hosts that only the default route leads to (RFC 5737, RFC 3849:
// they belong to nobody).
var anywhere = []string{"192.0.2.1:9", "[2001:db8::1]:9"}

// ForOthers chooses the address under which others reach a listener.
func ForOthers(ctx context.Context, cfg Config) Choice {
	if cfg.Addrs == nil {
		cfg.Addrs = net.InterfaceAddrs
	}
	if cfg.Route == nil {
		cfg.Route = route
	}
	host, port, err := net.SplitHostPort(cfg.Bound)
	if err != nil || !Everywhere(host) {
		ip, err := netip.ParseAddr(host)
		return Choice{HostPort: cfg.Bound, Local: host == "localhost" || err == nil && ip.Unmap().IsLoopback()}
	}
	for _, to := range slices.Concat(nonEmpty(cfg.Peer), anywhere) {
		if ip, err := cfg.Route(ctx, to); err == nil && usable(ip) {
			return Choice{HostPort: net.JoinHostPort(ip.String(), port), Guessed: true}
		}
	}
	if ip, ok := first(cfg.Addrs); ok {
		return Choice{HostPort: net.JoinHostPort(ip.String(), port), Guessed: true}
	}
	return Choice{HostPort: OnThisHost(cfg.Bound), Guessed: true, Local: true}
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// usable addresses can be reached from another machine.
func usable(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsValid() && !ip.IsUnspecified() && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() && !ip.IsMulticast()
}

// first is the first usable address of the machine, IPv4 before IPv6.
func first(addrs func() ([]net.Addr, error)) (netip.Addr, bool) {
	list, err := addrs()
	if err != nil {
		return netip.Addr{}, false
	}
	var out []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil && usable(p.Addr()) {
			out = append(out, p.Addr().Unmap())
		}
	}
	slices.SortStableFunc(out, func(a, b netip.Addr) int { return cmp.Compare(a.BitLen(), b.BitLen()) })
	if len(out) == 0 {
		return netip.Addr{}, false
	}
	return out[0], true
}

func hasIPv4(addrs func() ([]net.Addr, error)) bool {
	list, err := addrs()
	if err != nil {
		return true
	}
	return slices.ContainsFunc(list, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().Unmap().Is4()
	})
}

// route asks the system. Connecting a datagram socket only picks a route: no packet
// is sent.
func route(ctx context.Context, to string) (netip.Addr, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", to)
	if err != nil {
		return netip.Addr{}, err
	}
	defer func() { _ = conn.Close() }() // nothing was sent
	at, err := netip.ParseAddrPort(conn.LocalAddr().String())
	return at.Addr(), err
}
