package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// A variable with Lotus's name that overrides a listener may be meant for a Lotus
// node on the same host: it is named. Others, and those that our own name beats,
// are not.
func TestBorrowedListenersAreNamed(t *testing.T) {
	for env, want := range map[string][]string{
		"": nil,
		"LOTUS_API_LISTENADDRESS=/ip4/0.0.0.0/tcp/1234/http": {"environment LOTUS_API_LISTENADDRESS overrides " +
			"API.ListenAddress of this process"},
		"LOTUS_API_LISTENADDRESS=x MINER_API_LISTENADDRESS=y":   nil,
		"LOTUS_API_REMOTELISTENADDRESS=h:1":                     {"API.RemoteListenAddress"},
		"LOTUS_LIBP2P_LISTENADDRESSES=a":                        {"unset it here or set MINER_LIBP2P_LISTENADDRESSES"},
		"LOTUS_LIBP2P_ANNOUNCEADDRESSES=a":                      {"Libp2p.AnnounceAddresses"},
		"LOTUS_SEALING_MAXSEALINGSECTORS=1 LOTUS_PATH=/x":       nil,
		"LOTUS_LIBP2P_LISTENADDRESSES= LOTUS_API_LISTENADDRESS": {"API.ListenAddress", "Libp2p.ListenAddresses"},
	} {
		if got := BorrowedListeners(strings.Fields(env)); len(got) != len(want) || !slices.EqualFunc(got, want, strings.Contains) {
			t.Errorf("%s: %q", env, got)
		}
	}
}

// What is told to others can be dialled, or the setting is named.
func TestAddressesForOthersCanBeDialled(t *testing.T) {
	for what, c := range map[string]struct {
		remote   string
		announce string
		want     string
	}{
		"none":                      {},
		"a host":                    {remote: "storage.example:2345"},
		"a proxy":                   {remote: "https://storage.example"},
		"an address":                {announce: "/ip4/203.0.113.7/tcp/24001"},
		"a name":                    {announce: "/dns4/storage.example/tcp/24001"},
		"every address":             {remote: "0.0.0.0:2345", want: "API.RemoteListenAddress"},
		"every address 6":           {remote: "[::]:2345", want: "API.RemoteListenAddress"},
		"no host":                   {remote: ":2345", want: "API.RemoteListenAddress"},
		"a URL of every address":    {remote: "http://0.0.0.0:2345", want: "API.RemoteListenAddress"},
		"any port":                  {remote: "storage.example:0", want: "API.RemoteListenAddress"},
		"a URL with any port":       {remote: "http://storage.example:0", want: "API.RemoteListenAddress"},
		"announces every address":   {announce: "/ip4/0.0.0.0/tcp/24001", want: "Libp2p.AnnounceAddresses: nobody can dial"},
		"announces every address 6": {announce: "/ip6/::/tcp/24001", want: "Libp2p.AnnounceAddresses: nobody can dial"},
		"announces any port":        {announce: "/ip4/203.0.113.7/tcp/0", want: "Libp2p.AnnounceAddresses: nobody can dial"},
		"announces any QUIC port":   {announce: "/ip4/203.0.113.7/udp/0/quic-v1", want: "Libp2p.AnnounceAddresses: nobody can dial"},
	} {
		cfg := Default()
		cfg.API.RemoteListenAddress = c.remote
		if c.announce != "" {
			cfg.Libp2p.AnnounceAddresses = []string{c.announce}
		}
		if err := cfg.Validate(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Clients find a node by the port that the chain has: the default is the same at
// every start.
func TestDefaultLibp2pPortStays(t *testing.T) {
	if got := Default().Libp2p.ListenAddresses; !slices.Equal(got, []string{"/ip4/0.0.0.0/tcp/24001", "/ip6/::/tcp/24001"}) {
		t.Errorf("%v", got)
	}
}

// A config that is no file is refused instead of waited for.
func TestConfigIsARegularFile(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "config.toml")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{fifo: "is a FIFO, not a regular file", os.DevNull: "is a character device",
		t.TempDir(): "is a directory"} {
		if _, err := Load(path, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
