package transfer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Both edges of each range, and their neighbours that are public.
func TestPublicAddr(t *testing.T) {
	for _, s := range []string{
		"0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.1", "127.255.255.255",
		"169.254.0.0", "169.254.169.254", "169.254.255.255", "172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.255", "192.0.2.1",
		"192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.0.0", "192.168.255.255", "192.175.48.1", "198.18.0.0", "198.19.255.255",
		"198.51.100.1", "203.0.113.1", "224.0.0.0", "239.255.255.255", "240.0.0.0", "255.255.255.255", "168.63.129.16", "100.100.100.200",
		"192.0.0.192", "::", "::1", "::7f00:1", "::a00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:7f00:1", "::ffff:0:10.0.0.1",
		"64:ff9b::a00:1", "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "100:0:0:1::1", "1fff:ffff::1", "2001::1",
		"2001:0:7f00:1::", "2001:2::1",
		"2001:10::1", "2001:20::1", "2001:1ff:ffff::1", "2001:db8::1", "2001:db8:ffff::1", "2002::", "2002:7f00:1::", "2002:ffff:ffff::1",
		"2620:4f:8000::1", "3fff::1", "3fff:fff:ffff::1", "4000::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fdff::1", "fe80::1",
		"fe80::1%eth0",
		"febf::1", "fec0::1", "feff::1", "ff00::1", "ff02::1", "ff0e::1", "fd20:ce::254",
	} {
		require.False(t, publicAddr(netip.MustParseAddr(s)), s)
		require.ErrorIs(t, onlyPublic(netip.MustParseAddr(s)), ErrPrivateAddress, s)
	}
	require.False(t, publicAddr(netip.Addr{}))
	for _, s := range []string{
		"1.0.0.0", "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
		"168.63.129.15", "168.63.129.17", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0",
		"192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
		"::ffff:8.8.8.8", "2000::1", "2001:200::1", "2001:db7:ffff::1", "2001:db9::1", "2003::1", "2606:4700::1111", "2620:4f:8001::1",
		"3ffe::1", "3fff:1000::1",
	} {
		require.True(t, publicAddr(netip.MustParseAddr(s)), s)
		require.NoError(t, onlyPublic(netip.MustParseAddr(s)), s)
	}
}

// Where private addresses are allowed, the secrets of a cloud machine are not.
func TestMetadataIsNeverAsked(t *testing.T) {
	for _, s := range []string{
		"169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.0.23", "100.100.100.200", "192.0.0.192", "168.63.129.16",
		"fd00:ec2::254",
		"fd20:ce::254", "fd00:42::42", "fe80::a9fe:a9fe", "fe80::a9fe:a9fe%eth0", "::ffff:169.254.169.254", "::a9fe:a9fe",
		"::ffff:0:a9fe:a9fe",
		"64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "64:ff9b:1:a9fe:a9:fe00::", "2002:a9fe:a9fe::1", "fd00:c1::a9fe:a9fe",
	} {
		require.ErrorIs(t, notMetadata(netip.MustParseAddr(s)), ErrMetadataAddress, s)
	}
	for _, s := range []string{
		"127.0.0.1", "10.0.0.1", "169.254.169.253", "::1", "fd00::1", "64:ff9b::808:808", "2002:808:808::1", "8.8.8.8", "2606:4700::1111",
		"64:ff9b:1::1", "64:ff9b:1:808:8:800::",
	} {
		require.NoError(t, notMetadata(netip.MustParseAddr(s)), s)
	}
	f := New(Config{AllowPrivateIPs: true})
	defer f.Close()
	err := f.Fetch(t.Context(), Request{URL: "http://169.254.169.254/latest/meta-data/", Size: 5,
		Path: filepath.Join(t.TempDir(), "staged")})
	require.ErrorIs(t, err, ErrMetadataAddress)
	require.True(t, isFatal(err))
}

// names is a DNS server on loopback. Each question takes the next answer of its
// name, the last one for ever.
type names struct {
	mu      sync.Mutex
	answers map[string][]string
	asked   map[string]int
}

func resolver(t *testing.T, answers map[string][]string) (*net.Resolver, *names) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	n := &names{answers: answers, asked: map[string]int{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			k, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if out := n.reply(buf[:k]); out != nil {
				_, _ = pc.WriteTo(out, from)
			}
		}
	}()
	t.Cleanup(func() { _ = pc.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}, n
}

// reply answers one question for an address (RFC 1035 §4.1).
func (n *names) reply(b []byte) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	var labels []string
	at := 12
	for at < len(b) && b[at] != 0 {
		labels = append(labels, string(b[at+1:at+1+int(b[at])]))
		at += 1 + int(b[at])
	}
	end := at + 5 // the root label, type and class
	if end > len(b) {
		return nil
	}
	list, known := n.answers[strings.Join(labels, ".")]
	out := append([]byte{}, b[:end]...)
	copy(out[2:12], []byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}) // an answer, with one question
	if !known {
		out[3] |= 3 // no such name
		return out
	}
	ip := netip.MustParseAddr(list[min(n.asked[strings.Join(labels, ".")], len(list)-1)])
	kind := byte(28) // AAAA
	if ip.Is4() {
		kind = 1 // A
	}
	if b[at+2] != kind {
		return out
	}
	n.asked[strings.Join(labels, ".")]++
	out[7] = 1
	raw := ip.AsSlice()
	out = append(out, 0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 0, 0, byte(len(raw)))
	return append(out, raw...)
}

// outside is the one loopback address that the guard of these tests takes for the
// internet; all others it judges as always.
var outside = netip.MustParseAddr("127.0.0.2")

func guarded(t *testing.T, cfg Config) *Fetcher {
	cfg.RetryMin = time.Millisecond
	f := newFetcher(cfg, func(a netip.Addr) error {
		if a == outside {
			return nil
		}
		return onlyPublic(a)
	})
	t.Cleanup(f.Close)
	return f
}

// listen serves on an address of loopback.
func listen(t *testing.T, addr string, h http.HandlerFunc) string {
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	srv := httptest.NewUnstartedServer(h)
	_ = srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

// Names that lead inside, plainly, by a redirect, or only at the second look, are
// refused where the connection would be made; nothing inside hears of it.
func TestNamesThatLeadInsideAreRefused(t *testing.T) {
	var hits atomic.Int32
	inside := listen(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) { hits.Add(1); content(w, r) })
	for name, target := range map[string]string{
		"address":     "127.0.0.1:" + inside,
		"ipv6":        "[::1]:" + inside,
		"mapped":      "[::ffff:127.0.0.1]:" + inside,
		"name":        "inside.example:" + inside,
		"name ipv6":   "inside6.example:" + inside,
		"name mapped": "mapped.example:" + inside,
		"metadata":    "metadata.example:" + inside,
	} {
		t.Run(name, func(t *testing.T) {
			res, _ := resolver(t, map[string][]string{
				"public.example":   {"127.0.0.2"},
				"inside.example":   {"127.0.0.1"},
				"inside6.example":  {"::1"},
				"mapped.example":   {"::ffff:127.0.0.1"},
				"metadata.example": {"169.254.169.254"},
			})
			var redirects atomic.Int32
			outer := listen(t, "127.0.0.2:0", func(w http.ResponseWriter, r *http.Request) {
				redirects.Add(1)
				http.Redirect(w, r, "http://"+target+"/x.car", http.StatusTemporaryRedirect)
			})
			f := guarded(t, Config{Resolver: res})
			for _, url := range []string{"http://" + target + "/x.car", "http://public.example:" + outer + "/x.car"} {
				err := f.Fetch(t.Context(), Request{URL: url, Size: uint64(len(payload)), Path: filepath.Join(t.TempDir(), "staged")})
				require.ErrorIs(t, err, ErrPrivateAddress, url)
				require.True(t, isFatal(err))
			}
			require.Equal(t, int32(1), redirects.Load())
		})
	}
	require.Zero(t, hits.Load())
}

// A name that is public at the first look and inside at the next one is refused at
// the next one.
func TestRebindingIsRefused(t *testing.T) {
	var hits atomic.Int32
	port := listen(t, "127.0.0.2:0", func(w http.ResponseWriter, _ *http.Request) { cut(w, payload[:1000]) })
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	require.NoError(t, err)
	srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) })}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	res, asked := resolver(t, map[string][]string{"rebind.example": {"127.0.0.2", "127.0.0.1"}})
	f := guarded(t, Config{Resolver: res})
	err = f.Fetch(t.Context(), Request{URL: "http://rebind.example:" + port + "/", Size: uint64(len(payload)),
		Path: filepath.Join(t.TempDir(), "staged")})
	require.ErrorIs(t, err, ErrPrivateAddress)
	require.True(t, isFatal(err))
	asked.mu.Lock()
	defer asked.mu.Unlock()
	require.Equal(t, 2, asked.asked["rebind.example"])
	require.Zero(t, hits.Load())
}

// A public name is pulled from, so that the refusals above mean something.
func TestPublicNameIsPulled(t *testing.T) {
	port := listen(t, "127.0.0.2:0", content)
	res, _ := resolver(t, map[string][]string{"public.example": {"127.0.0.2"}})
	f := guarded(t, Config{Resolver: res})
	require.NoError(t, f.Fetch(t.Context(), Request{URL: "http://public.example:" + port + "/", Size: uint64(len(payload)),
		Path: filepath.Join(t.TempDir(), "staged")}))
	err := f.Fetch(t.Context(), Request{URL: fmt.Sprintf("http://127.0.0.1:%s/", port), Size: 5,
		Path: filepath.Join(t.TempDir(), "staged")})
	require.True(t, errors.Is(err, ErrPrivateAddress))
}

// The guard is in place unless it is switched off.
func TestPrivateAddressesAreRefused(t *testing.T) {
	var hits atomic.Int32
	for _, host := range []string{"", "localhost"} {
		_, err := fetch(t, Config{}, func(http.ResponseWriter, *http.Request) { hits.Add(1) }, func(r *Request) {
			if host != "" {
				r.URL = strings.Replace(r.URL, "127.0.0.1", host, 1)
			}
		})
		require.ErrorIs(t, err, ErrPrivateAddress)
		require.True(t, isFatal(err))
	}
	require.Zero(t, hits.Load())
}
