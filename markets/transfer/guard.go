package transfer

import (
	"errors"
	"fmt"
	"net/netip"
)

var (
	// ErrPrivateAddress is the refusal to dial into the operator's own network.
	ErrPrivateAddress = errors.New("downloading from private ip addresses is not allowed")
	// ErrMetadataAddress is the refusal to ask the service that tells a cloud
	// machine its secrets, which no setting allows.
	ErrMetadataAddress = errors.New("downloading from a cloud's metadata service is not allowed")
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// reserved4 are the ranges of the IANA special-purpose registry for IPv4, and
// those that are no unicast addresses.
var reserved4 = prefixes(
	"0.0.0.0/8",       // this network
	"10.0.0.0/8",      // private
	"100.64.0.0/10",   // shared by a carrier's customers
	"127.0.0.0/8",     // loopback
	"169.254.0.0/16",  // link-local
	"172.16.0.0/12",   // private
	"192.0.0.0/24",    // protocol assignments
	"192.0.2.0/24",    // documentation
	"192.31.196.0/24", // AS112
	"192.52.193.0/24", // AMT relays
	"192.88.99.0/24",  // 6to4 relays
	"192.168.0.0/16",  // private
	"192.175.48.0/24", // AS112
	"198.18.0.0/15",   // benchmarks
	"198.51.100.0/24", // documentation
	"203.0.113.0/24",  // documentation
	"224.0.0.0/4",     // multicast
	"240.0.0.0/4",     // reserved, and broadcast
)

// global6 is what has been given out for unicast. Everything else is local,
// multicast, discarded, or holds an IPv4 address: compatible ::/96, mapped
// ::ffff:0:0/96, translated ::ffff:0:0:0/96, NAT64 64:ff9b::/96 and
// 64:ff9b:1::/48, discard 100::/64, unique local fc00::/7, link-local fe80::/10,
// site-local fec0::/10, multicast ff00::/8, segment routing 5f00::/16.
var global6 = netip.MustParsePrefix("2000::/3")

// reserved6 are the exceptions inside global6.
var reserved6 = prefixes(
	"2001::/23",         // protocol assignments: Teredo, benchmarks, ORCHID and others
	"2001:db8::/32",     // documentation
	"2002::/16",         // 6to4
	"2620:4f:8000::/48", // AS112
	"3fff::/20",         // documentation
)

// metadata are the addresses where clouds tell a machine its secrets. Some look
// public.
var metadata = prefixes(
	"169.254.169.254/32",     // most
	"169.254.170.0/24",       // containers' credentials
	"169.254.0.23/32",        // Tencent
	"100.100.100.200/32",     // Alibaba
	"192.0.0.192/32",         // Oracle
	"168.63.129.16/32",       // Azure
	"fd00:ec2::/32",          // Amazon
	"fd20:ce::254/128",       // Google
	"fd00:42::42/128",        // Scaleway
	"fe80::a9fe:a9fe/128",    // OpenStack
	"fd00:c1::a9fe:a9fe/128", // Oracle
)

func in(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// plainAddr drops the zone and shows IPv4 as what it is.
func plainAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// publicAddr tells whether an address belongs to the public internet.
func publicAddr(a netip.Addr) bool {
	a = plainAddr(a)
	switch {
	case !a.IsValid() || in(metadata, a):
		return false
	case a.Is4():
		return !in(reserved4, a)
	}
	return global6.Contains(a) && !in(reserved6, a)
}

// holders are the IPv6 ranges that a translator or a tunnel reads an IPv4 address
// out of, with where its four bytes lie (RFC 6052 §2.2 for NAT64).
var holders = []struct {
	in netip.Prefix
	at [4]int
}{
	{netip.MustParsePrefix("::/96"), [4]int{12, 13, 14, 15}},
	{netip.MustParsePrefix("::ffff:0:0:0/96"), [4]int{12, 13, 14, 15}},
	{netip.MustParsePrefix("64:ff9b::/96"), [4]int{12, 13, 14, 15}},
	{netip.MustParsePrefix("64:ff9b:1::/48"), [4]int{12, 13, 14, 15}},
	{netip.MustParsePrefix("64:ff9b:1::/48"), [4]int{6, 7, 9, 10}},
	{netip.MustParsePrefix("2002::/16"), [4]int{2, 3, 4, 5}},
}

// notMetadata is the guard where private addresses are allowed.
func notMetadata(a netip.Addr) error {
	a = plainAddr(a)
	bad := in(metadata, a)
	for _, h := range holders {
		if b := a.As16(); h.in.Contains(a) {
			bad = bad || in(metadata, netip.AddrFrom4([4]byte{b[h.at[0]], b[h.at[1]], b[h.at[2]], b[h.at[3]]}))
		}
	}
	if bad {
		return fmt.Errorf("%w: %s", ErrMetadataAddress, a)
	}
	return nil
}

// onlyPublic is the guard where they are not.
func onlyPublic(a netip.Addr) error {
	if !publicAddr(a) {
		return fmt.Errorf("%w: %s", ErrPrivateAddress, a)
	}
	return nil
}
