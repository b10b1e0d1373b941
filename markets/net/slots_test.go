package net

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	lcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	lnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
	cbg "github.com/whyrusleeping/cbor-gen"
)

func newTestHost(t *testing.T, lim HostLimits, listen ...string) host.Host {
	t.Helper()
	key, _, err := lcrypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	h, err := NewHost(Config{Key: key, Listen: listen, Limits: lim})
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func echoes(_ context.Context, _ peer.ID, r io.Reader) (cbg.CBORMarshaler, error) {
	var e echo
	return &e, e.UnmarshalCBOR(r)
}

// Five peers of one host with sixty streams each that send one byte and wait:
// another peer of that host is answered every time.
func TestIdleStreamsDoNotShutOthersOut(t *testing.T) {
	s := newTestHost(t, HostLimits{}, "/ip4/127.0.0.1/tcp/0")
	to := peer.AddrInfo{ID: s.ID(), Addrs: s.Addrs()}
	ctx := t.Context()
	stop := Serve(context.Background(), s, DefaultLimits(1000), Slots{}, slog.New(slog.DiscardHandler), map[string]Handler{proto: echoes})
	defer stop()
	var taken atomic.Int32
	for range 5 {
		bad := newTestHost(t, HostLimits{})
		require.NoError(t, bad.Connect(ctx, to))
		for range 60 {
			st, err := bad.NewStream(ctx, s.ID(), proto)
			if err != nil {
				break // refused already
			}
			if _, err := st.Write([]byte{0x58}); err == nil {
				taken.Add(1)
			}
		}
	}
	require.Greater(t, taken.Load(), int32(128))
	good := newTestHost(t, HostLimits{})
	require.NoError(t, good.Connect(ctx, to))
	for range 10 {
		req, resp := echo("hello"), echo(nil)
		require.NoError(t, Ask(ctx, good, s.ID(), []string{proto}, &req, &resp, 1000))
		require.Equal(t, req, resp)
	}
}

// A stream that sends no first byte ends soon, one that goes on is given time.
func TestFirstByte(t *testing.T) {
	s, c := newTestHost(t, HostLimits{}, "/ip4/127.0.0.1/tcp/0"), newTestHost(t, HostLimits{})
	require.NoError(t, c.Connect(t.Context(), peer.AddrInfo{ID: s.ID(), Addrs: s.Addrs()}))
	lim := Limits{
		MaxBytes: 100,
		First:    100 * time.Millisecond,
		Read:     time.Hour,
		Handle:   time.Hour,
		Write:    time.Hour,
	}
	stop := Serve(context.Background(), s, lim, Slots{}, slog.New(slog.DiscardHandler), map[string]Handler{proto: echoes})
	open := func(b ...byte) lnet.Stream {
		st, err := c.NewStream(t.Context(), s.ID(), proto)
		require.NoError(t, err)
		_, err = st.Write(b)
		require.NoError(t, err)
		return st
	}
	slow, silent := open(0x42, 1), open()
	require.NoError(t, silent.SetReadDeadline(time.Now().Add(20*time.Second)))
	_, err := io.ReadAll(silent)
	require.ErrorIs(t, err, lnet.ErrReset)
	_, err = slow.Write([]byte{2})
	require.NoError(t, err)
	b, err := io.ReadAll(slow)
	require.NoError(t, err)
	require.Equal(t, []byte{0x42, 1, 2}, b)
	stop()
	late, err := c.NewStream(t.Context(), s.ID(), proto)
	if err == nil {
		_, err = late.Read(make([]byte, 1))
	}
	require.Error(t, err, "nobody answers any more")
}

// stream is one of a peer at an address.
type stream struct {
	lnet.Stream
	conn  connOf
	reset bool
}

type connOf struct {
	lnet.Conn
	peer peer.ID
	addr ma.Multiaddr
}

func (s *stream) Conn() lnet.Conn              { return s.conn }
func (s *stream) Reset() error                 { s.reset = true; return nil }
func (c connOf) RemotePeer() peer.ID           { return c.peer }
func (c connOf) RemoteMultiaddr() ma.Multiaddr { return c.addr }

// Who gives way: the oldest of the peer, of the address, or of the address that
// has most; never one that is worked on.
func TestOldestSilentStreamGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tab := newSlots(Slots{All: 6, PerPeer: 2, PerAddress: 4})
		open := func(p, ip string, silent bool) (*slot, *stream) {
			time.Sleep(time.Second)
			st := &stream{conn: connOf{peer: peer.ID(p), addr: ma.StringCast("/ip4/" + ip + "/tcp/1")}}
			s := tab.take(st)
			if s != nil && silent {
				s.wait(1)
			}
			return s, st
		}
		_, a1 := open("a", "10.0.0.1", true)
		_, a2 := open("a", "10.0.0.1", true)
		_, a3 := open("a", "10.0.0.1", true)
		require.True(t, a1.reset, "the oldest of the peer")
		_, b1 := open("b", "10.0.0.1", true)
		_, c1 := open("c", "10.0.0.1", false)
		_, d1 := open("d", "10.0.0.1", true)
		require.True(t, a2.reset, "the peer that has most of the address")
		require.False(t, a3.reset || b1.reset || c1.reset || d1.reset)
		_, e1 := open("e", "10.0.0.2", true)
		_, f1 := open("f", "10.0.0.3", false)
		_, g1 := open("g", "10.0.0.4", false)
		require.True(t, a3.reset, "the oldest of the address that has most")
		require.False(t, e1.reset || b1.reset)
		_, _ = open("h", "10.0.0.5", false)
		_, _ = open("i", "10.0.0.6", false)
		require.True(t, b1.reset && d1.reset)
		_, _ = open("j", "10.0.0.7", false)
		require.True(t, e1.reset, "the last that waits")
		s, _ := open("k", "10.0.0.8", true)
		require.Nil(t, s, "all are worked on")
		require.False(t, c1.reset || f1.reset || g1.reset)
		require.Len(t, tab.held, 6)
	})
}

func TestAddressesOfShares(t *testing.T) {
	for in, want := range map[string]string{"10.0.0.1": "10.0.0.1", "::ffff:10.0.0.1": "10.0.0.1", "2001:db8::1": "2001:db8::/64",
		"2001:db8::ffff:0:0:1": "2001:db8::/64"} {
		require.Equal(t, want, shareOf(net.ParseIP(in)), in)
	}
	require.Equal(t, "", shareOf(nil))
}

// The host refuses connections above the limits that it was given.
func TestHostLimits(t *testing.T) {
	s := newTestHost(t, HostLimits{Conns: 2}, "/ip4/127.0.0.1/tcp/0")
	to := peer.AddrInfo{ID: s.ID(), Addrs: s.Addrs()}
	open := 0
	for range 4 {
		c := newTestHost(t, HostLimits{})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if c.Connect(ctx, to) == nil {
			open++
		}
		cancel()
	}
	require.LessOrEqual(t, len(s.Network().Conns()), 2)
	require.GreaterOrEqual(t, open, 1)
	d := HostLimits{}.withDefaults()
	require.Equal(t, HostLimits{
		Conns:           512,
		ConnsPerAddress: 16,
		ConnsPerPeer:    8,
		Streams:         4096,
		StreamsPerPeer:  128,
		MemoryBytes:     256 << 20,
	}, d)
}
