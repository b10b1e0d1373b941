package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The config names the other half strictly, and a token in a file stays there.
func TestPeersInTheConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "peer")
	if err := os.WriteFile(file, []byte("a.b.c:/ip4/127.0.0.1/tcp/7/http\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"":                               "",
		"@" + file:                       "@" + file,
		" a.b.c:host:7\n":                "a.b.c:host:7",
		"MINER_API_INFO='a.b.c:host:7'":  "a.b.c:host:7",
		"a.b.c:/ip4/10.0.0.1/tcp/7/http": "a.b.c:/ip4/10.0.0.1/tcp/7/http",
	} {
		if got, err := peerInfo("Subsystems.SealerApiInfo", in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for in, want := range map[string]string{
		"host:7":                  "no token before it",
		"@peer":                   "not named from the root",
		"@" + file + "x":          "no such file",
		"a.b.c/ip4/1.2.3.4/tcp/5": "the colon between the token and the address is missing",
	} {
		if got, err := peerInfo("Subsystems.SealerApiInfo", in); got != "" || err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), "Subsystems.SealerApiInfo") {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}
