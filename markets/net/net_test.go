package net

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	minertypes "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	lcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
	cbg "github.com/whyrusleeping/cbor-gen"
	"go.uber.org/goleak"

	"quarry/api"
)

const proto = "/test/1.0.0"

// echo is a byte string request and answer.
type echo []byte

func (e *echo) MarshalCBOR(w io.Writer) error { return cbg.WriteByteArray(w, *e) }
func (e *echo) UnmarshalCBOR(r io.Reader) (err error) {
	*e, err = cbg.ReadByteArray(r, cbg.ByteArrayMaxLen)
	return
}

func pair(t *testing.T, quic bool) (server, client host.Host) {
	mk := func(listen ...string) host.Host {
		key, _, err := lcrypto.GenerateEd25519Key(rand.Reader)
		require.NoError(t, err)
		h, err := NewHost(Config{Key: key, Listen: listen, QUIC: quic})
		require.NoError(t, err)
		return h
	}
	listen := "/ip4/127.0.0.1/tcp/0"
	if quic {
		listen = "/ip4/127.0.0.1/udp/0/quic-v1"
	}
	server, client = mk(listen), mk()
	require.NoError(t, client.Connect(context.Background(), peer.AddrInfo{ID: server.ID(), Addrs: server.Addrs()}))
	return server, client
}

func TestExchange(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent(), goleak.IgnoreTopFunction("github.com/quic-go/quic-go.(*Transport).listen"))
	for _, quic := range []bool{false, true} {
		t.Run(fmt.Sprintf("quic=%v", quic), func(t *testing.T) {
			s, c := pair(t, quic)
			defer s.Close()
			defer c.Close()
			stop := Serve(context.Background(), s, DefaultLimits(1000), Slots{All: 4}, slog.New(slog.DiscardHandler), map[string]Handler{
				proto: func(_ context.Context, from peer.ID, r io.Reader) (cbg.CBORMarshaler, error) {
					require.Equal(t, c.ID(), from)
					var e echo
					return &e, e.UnmarshalCBOR(r)
				}})
			defer stop()
			req, resp := echo("hello"), echo(nil)
			require.NoError(t, Ask(context.Background(), c, s.ID(), []string{"/other", proto}, &req, &resp, 1000))
			require.Equal(t, req, resp)
			require.Error(t, Ask(context.Background(), c, s.ID(), []string{"/other"}, &req, &resp, 1000))
		})
	}
}

// A peer that sends 100 MiB, half a message, or nothing gets a reset, and the
// server reads no more than its limit.
func TestHostileStreams(t *testing.T) {
	s, c := pair(t, false)
	defer s.Close()
	defer c.Close()
	var read atomic.Int64
	errs := make(chan error, 8)
	lim := Limits{MaxBytes: 4096, Read: 300 * time.Millisecond, Handle: time.Second, Write: time.Second}
	stop := Serve(context.Background(), s, lim, Slots{All: 4}, slog.New(slog.DiscardHandler), map[string]Handler{
		proto: func(_ context.Context, _ peer.ID, r io.Reader) (cbg.CBORMarshaler, error) {
			var e echo
			err := e.UnmarshalCBOR(io.TeeReader(r, counter{&read}))
			errs <- err
			return &e, err
		}})
	defer stop()
	huge := append([]byte{0x5a, 0x06, 0x40, 0, 0}, make([]byte, 100<<20)...) // claims 100 MiB
	allowed := append([]byte{0x5a, 0x00, 0x10, 0, 0}, make([]byte, 1<<20)...)
	for name, b := range map[string][]byte{"huge": huge, "above the limit": allowed, "half": {0x45, 1, 2}, "nothing": nil} {
		t.Run(name, func(t *testing.T) {
			read.Store(0)
			st, err := c.NewStream(context.Background(), s.ID(), proto)
			require.NoError(t, err)
			_ = st.SetDeadline(time.Now().Add(5 * time.Second))
			written := make(chan struct{})
			go func() { defer close(written); _, _ = st.Write(b) }()
			_, err = io.ReadAll(st)
			require.Error(t, err, "no answer may come")
			require.Error(t, <-errs)
			_ = st.Reset()
			<-written
			require.LessOrEqual(t, read.Load(), int64(4096))
		})
	}
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(b []byte) (int, error) { c.n.Add(int64(len(b))); return len(b), nil }

func TestSlotsAndStop(t *testing.T) {
	s, c := pair(t, false)
	defer s.Close()
	defer c.Close()
	entered, leave := make(chan struct{}, 2), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	stop := Serve(ctx, s, DefaultLimits(100), Slots{All: 1}, slog.New(slog.DiscardHandler), map[string]Handler{
		proto: func(ctx context.Context, _ peer.ID, r io.Reader) (cbg.CBORMarshaler, error) {
			entered <- struct{}{}
			select {
			case <-leave:
			case <-ctx.Done():
			}
			return nil, ctx.Err()
		}})
	done := make(chan error, 1)
	req := echo("x")
	go func() { var r echo; done <- Ask(context.Background(), c, s.ID(), []string{proto}, &req, &r, 100) }()
	<-entered
	var r echo
	require.Error(t, Ask(context.Background(), c, s.ID(), []string{proto}, &req, &r, 100), "the only slot is taken")
	cancel()
	stop() // returns only when the handler did
	require.Error(t, <-done)
}

func TestPeerMessages(t *testing.T) {
	miner, _ := address.NewIDAddress(1000)
	from, _ := address.NewIDAddress(1001)
	key, _, _ := lcrypto.GenerateEd25519Key(rand.Reader)
	id, _ := peer.IDFromPrivateKey(key)
	out, err := PeerMessages(miner, from, id.String(), []string{"/ip4/127.0.0.1/tcp/4001"}, true)
	require.NoError(t, err)
	require.Equal(t, 4, int(out[0].Method))
	require.Equal(t, 18, int(out[1].Method))
	var p minertypes.ChangePeerIDParams
	require.NoError(t, p.UnmarshalCBOR(bytes.NewReader(out[0].Params)))
	require.Equal(t, string(id), string(p.NewID))

	for _, bad := range [][]string{{"/ip4/0.0.0.0/tcp/1"}, {"/ip4/10.0.0.1/tcp/1"}, {}, {"nonsense"}} {
		_, err := PeerMessages(miner, from, id.String(), bad, false)
		require.Error(t, err, "%v", bad)
	}
	_, err = PeerMessages(miner, from, id.String(), []string{"/dns4/example.com/tcp/1"}, false)
	require.NoError(t, err)

	_, err = ProviderInfo(api.MinerInfo{}, "f01000")
	require.ErrorContains(t, err, "no peer ID set on-chain")
	s := id.String()
	_, err = ProviderInfo(api.MinerInfo{PeerId: &s}, "f01000")
	require.ErrorContains(t, err, "no multiaddrs set on-chain")
}
