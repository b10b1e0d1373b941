package net

import (
	"net"
	"net/netip"
	"sync"
	"time"

	lnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Slots bound the streams answered at once; zero values are the defaults stated.
type Slots struct {
	All        int // 128
	PerPeer    int // 16
	PerAddress int // an IPv4 address or an IPv6 /64; half of All
}

func (s Slots) withDefaults() Slots {
	s.All = orDefault(s.All, 128)
	s.PerPeer = orDefault(s.PerPeer, 16)
	s.PerAddress = orDefault(s.PerAddress, max(s.All/2, 1))
	return s
}

// slot is a stream being answered.
type slot struct {
	s       lnet.Stream
	peer    peer.ID
	address string
	begun   time.Time

	mu      sync.Mutex
	waiting int // for the peer, to send or to take bytes
}

func (s *slot) wait(d int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting += d
}

func (s *slot) silent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting > 0
}

// Read tells a stream that waits for its peer from one that is being worked on.
func (s *slot) Read(p []byte) (int, error) {
	s.wait(1)
	defer s.wait(-1)
	return s.s.Read(p)
}

// Write is Read's counterpart.
func (s *slot) Write(p []byte) (int, error) {
	s.wait(1)
	defer s.wait(-1)
	return s.s.Write(p)
}

// slots are the streams being answered.
type slots struct {
	lim Slots

	mu     sync.Mutex
	closed bool
	held   map[*slot]struct{}
	idle   sync.WaitGroup
}

func newSlots(lim Slots) *slots { return &slots{lim: lim.withDefaults(), held: map[*slot]struct{}{}} }

// take gives a stream a slot. Where a share is full the oldest stream that only
// waits gives way: one of the same peer, of the same address, or of the address
// with most, there of the peer with most. It returns nil when all are worked on.
func (t *slots) take(s lnet.Stream) *slot {
	n := &slot{s: s, peer: s.Conn().RemotePeer(), address: addressOf(s.Conn()), begun: time.Now()}
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	perPeer, perAddress := map[peer.ID]int{}, map[string]int{}
	for h := range t.held {
		perPeer[h.peer]++
		perAddress[h.address]++
	}
	var victim *slot
	rank := func(*slot) [2]int { return [2]int{} }
	full := true
	switch {
	case perPeer[n.peer] >= t.lim.PerPeer:
		rank = func(h *slot) [2]int { return [2]int{mark(h.peer == n.peer), 1} }
	case perAddress[n.address] >= t.lim.PerAddress:
		rank = func(h *slot) [2]int { return [2]int{mark(h.address == n.address), perPeer[h.peer]} }
	case len(t.held) >= t.lim.All:
		rank = func(h *slot) [2]int { return [2]int{perAddress[h.address], perPeer[h.peer]} }
	default:
		full = false
	}
	if full {
		if victim = t.victim(rank); victim == nil {
			t.mu.Unlock()
			return nil
		}
		delete(t.held, victim)
	}
	t.held[n] = struct{}{}
	t.idle.Add(1)
	t.mu.Unlock()
	if victim != nil {
		_ = victim.s.Reset() // its handler ends with an error
	}
	return n
}

func mark(is bool) int {
	if is {
		return 1
	}
	return 0
}

// victim is the oldest waiting stream of the highest rank; the caller holds the
// lock. Streams whose first rank is zero are not looked at.
func (t *slots) victim(rank func(*slot) [2]int) (out *slot) {
	var best [2]int
	for h := range t.held {
		r := rank(h)
		if r[0] == 0 || !h.silent() {
			continue
		}
		higher := r[0] > best[0] || r[0] == best[0] && r[1] > best[1]
		if out == nil || higher || r == best && h.begun.Before(out.begun) {
			out, best = h, r
		}
	}
	return out
}

func (t *slots) leave(s *slot) {
	t.mu.Lock()
	delete(t.held, s)
	t.mu.Unlock()
	t.idle.Done()
}

// close gives out no more slots and waits until those given are back.
func (t *slots) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.idle.Wait()
}

// addressOf is the address that a peer's streams count for.
func addressOf(c lnet.Conn) string {
	ip, err := manet.ToIP(c.RemoteMultiaddr())
	if err != nil {
		return ""
	}
	return shareOf(ip)
}

func shareOf(ip net.IP) string {
	a, ok := netip.AddrFromSlice(ip)
	if !ok {
		return ""
	}
	if a = a.Unmap(); a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}
