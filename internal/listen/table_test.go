package listen

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fake is a peer with an address.
type fake struct {
	net.Conn
	addr string
}

func (f fake) RemoteAddr() net.Addr {
	a, err := net.ResolveTCPAddr("tcp", f.addr)
	if err != nil {
		panic(err)
	}
	return a
}
func (fake) Close() error                     { return nil }
func (fake) SetReadDeadline(time.Time) error  { return nil }
func (fake) SetWriteDeadline(time.Time) error { return nil }

func TestSharesOfAddresses(t *testing.T) {
	for addr, want := range map[string]string{
		"10.0.0.1:1": "10.0.0.1", "[::ffff:10.0.0.1]:7": "10.0.0.1", "[2001:db8:1:2:3::4]:1": "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::4]:1": "2001:db8:1:2::/64", "[fe80::1%eth0]:1": "fe80::/64",
	} {
		require.Equal(t, want, shareOf(fake{addr: addr}.RemoteAddr()), addr)
	}
}

// Who gives way: the longest waited for of the full address, else of the address
// that has most; never somebody who is being answered.
func TestWhoGivesWay(t *testing.T) {
	tab := newTable(Limits{Conns: 5, ConnsPerAddress: 3}.withDefaults())
	at := time.Now().Add(-time.Minute)
	open := func(addr string, p phase) *Conn {
		c := newConn(fake{addr: addr + ":1"}, tab)
		c.phase = p
		at = at.Add(time.Second)
		c.since = at
		require.True(t, tab.admit(c))
		return c
	}
	a1, a2, a3 := open("10.0.0.1", phaseBusy), open("10.0.0.1", phaseHeader), open("10.0.0.1", phaseIdle)
	a4 := open("10.0.0.1", phaseBusy)
	require.True(t, a2.closed, "the oldest that is waited for")
	require.False(t, a1.closed || a3.closed || a4.closed)
	b1, b2 := open("10.0.0.2", phaseHeader), open("10.0.0.2", phaseHeader)
	c1 := open("10.0.0.3", phaseHeader)
	require.True(t, a3.closed, "of the address that has most")
	require.False(t, b1.closed || b2.closed || c1.closed)
	d1 := open("10.0.0.4", phaseBusy)
	require.True(t, b1.closed, "a has only busy ones")
	for _, c := range []*Conn{b2, c1} {
		c.phase = phaseBusy
	}
	require.False(t, tab.admit(newConn(fake{addr: "10.0.0.5:1"}, tab)), "everybody is being answered")
	require.False(t, d1.closed)
	require.Equal(t, 5, tab.conns.n)
	for _, c := range []*Conn{a1, a4, b2, c1, d1} {
		_ = c.Close()
		_ = c.Close() // again changes nothing
	}
	require.Zero(t, tab.conns.n)
	require.Empty(t, tab.conns.by)
}

func TestMeter(t *testing.T) {
	at := time.Unix(1000, 0)
	m := meter{stall: 30 * time.Second, fair: 100}
	step := func(wait time.Duration, n int) bool {
		require.Equal(t, at.Add(30*time.Second-m.spent), m.begin(at))
		at = at.Add(wait)
		fine := m.end(at, n)
		at = at.Add(time.Hour) // between two waits nothing counts
		return fine
	}
	require.True(t, step(29*time.Second, 1))
	require.True(t, step(999*time.Millisecond, 98))
	require.False(t, step(time.Millisecond, 0))
	require.True(t, step(time.Millisecond, 1), "a hundred bytes in all")
	require.True(t, step(20*time.Second, 1))
	require.False(t, step(20*time.Second, 98))
}
