package rules

import (
	"strings"
	"testing"
)

const (
	libp2p  = "github.com/libp2p/go-libp2p"
	jsonrpc = "github.com/filecoin-project/go-jsonrpc"
	wazero  = "github.com/tetratelabs/wazero"
)

// rule says what a package and everything below it must not import.
type rule struct {
	from   string
	not    []string
	except []string // below from, or below not, that may
	why    string
}

// chainNode is what makes a full node, as opposed to the helpers that only see
// api.Chain.
var chainNode = []string{"quarry/chain/devnet", "quarry/chain/fvm", "quarry/chain/genesis", "quarry/chain/wallet", "quarry/build/bundle"}

var wiring = []string{"quarry/node", "quarry/cmd"}

func rules() []rule {
	subsystems := []string{"quarry/markets", "quarry/sealing", "quarry/storage", "quarry/mining"}
	var out []rule
	for _, s := range subsystems {
		var others []string
		for _, o := range subsystems {
			if o != s {
				others = append(others, o)
			}
		}
		out = append(out,
			rule{from: s, not: others,
				why: "subsystems never import each other; they meet in api types and interfaces the consumer declares"},
			rule{from: s, not: chainNode, why: "a subsystem sees a full node as api.Chain only"},
			rule{from: s, not: wiring, why: "wiring knows the parts, not the other way round"},
			rule{from: s, not: []string{"quarry/api/client"}, why: "a subsystem gets interfaces, in process or dialled is node's business"},
		)
	}
	return append(out,
		rule{from: "quarry/chain", not: append(append([]string{}, subsystems...), wiring...), why: "the chain knows nothing of providers"},
		rule{from: "quarry/chain/heads", not: chainNode, why: "heads works against any node"},
		rule{from: "quarry/chain/msgs", not: chainNode, why: "msgs works against any node"},
		rule{from: "quarry/proofs", not: []string{"quarry"}, except: []string{"quarry/proofs"},
			why: "proofs is mathematics and imports nothing of ours"},
		rule{from: "quarry/proofs", not: []string{"log/slog", "net/http", "net"}, why: "proofs is mathematics: no logs, no network"},
		rule{from: "quarry/api", not: []string{"quarry"}, except: []string{"quarry/api/client", "quarry/api/apitest"},
			why: "api is the ground everybody stands on"},
		rule{from: "quarry/api/client", not: []string{"quarry"}, except: []string{"quarry/api", "quarry/internal", "quarry/build"},
			why: "a client knows the API and nothing else"},
		rule{from: "quarry/storage/worker/engine", not: []string{"quarry"},
			except: []string{"quarry/api", "quarry/internal/lifecycle"},
			why:    "the engine brings tasks and results about and knows nothing of sectors, files and proofs"},
		rule{from: "quarry/node/config", not: []string{"quarry"}, except: []string{"quarry/internal", "quarry/build"},
			why: "reading a config links no subsystem"},
		rule{from: "quarry/node/repo", not: []string{"quarry"}, except: []string{"quarry/internal", "quarry/build", "quarry/api"},
			why: "a repo knows prefixes, not subsystems"},
		rule{from: "quarry/node/serve", not: []string{"quarry"}, except: []string{"quarry/internal", "quarry/build", "quarry/api"},
			why: "the listener knows interfaces, not subsystems"},
		rule{from: "quarry", not: []string{jsonrpc}, except: []string{"quarry/api/client", "quarry/node/serve",
			"quarry/chain/devnet"}, why: "the RPC library is wrapped in two places, nobody else sees its errors"},
		rule{from: "quarry", not: []string{"quarry/api/apitest", "quarry/internal/clitest", "quarry/internal/rules",
			"quarry/proofs/internal/bitflip", "quarry/proofs/kernel/kerneltest", "quarry/storage/blobs/blobstest"},
			why: "test kits stay in tests"},
	)
}

func TestImports(t *testing.T) {
	pkgs := packages(t)
	for _, r := range rules() {
		seen := false
		for _, p := range pkgs {
			if !under(p.ImportPath, r.from) || exempt(p.ImportPath, r) {
				continue
			}
			seen = true
			for _, im := range p.Imports {
				if forbidden(im, r) {
					t.Errorf("%s imports %s: %s", p.ImportPath, im, r.why)
				}
			}
		}
		if !seen {
			t.Errorf("the rule for %s guards nothing: the package has vanished; move the rule with it", r.from)
		}
		for _, n := range append(append([]string{}, r.not...), r.except...) {
			if strings.HasPrefix(n, "quarry/") && !exists(pkgs, n) {
				t.Errorf("the rule for %s speaks of %s, which has vanished", r.from, n)
			}
		}
	}
}

// exempt packages are those below from that the rule names as exceptions
// although it would otherwise cover them.
func exempt(path string, r rule) bool {
	for _, e := range r.except {
		if e != r.from && under(e, r.from) && under(path, e) {
			return true
		}
	}
	return false
}

func forbidden(im string, r rule) bool {
	for _, e := range r.except {
		if under(im, e) {
			return false
		}
	}
	for _, n := range r.not {
		// A standard package is meant alone: net does not mean net/url.
		if im == n || strings.Contains(n, "quarry") && under(im, n) || strings.Contains(n, ".") && under(im, n) {
			return true
		}
	}
	return false
}

func exists(pkgs []pkg, path string) bool {
	for _, p := range pkgs {
		if under(p.ImportPath, path) {
			return true
		}
	}
	return false
}

// TestDepsNotLinked looks at everything a package pulls in, however far away.
func TestDepsNotLinked(t *testing.T) {
	for _, c := range []struct {
		path string
		not  []string
		why  string
	}{
		{"quarry/cmd/miner-worker", append([]string{libp2p, wazero, "quarry/node/config", "quarry/markets", "quarry/sealing",
			"quarry/mining"}, chainNode...), "a worker computes; it carries neither the network host nor a chain"},
		{"quarry/storage", append([]string{libp2p, wazero, jsonrpc}, chainNode...), "storage runs on hosts without the public network"},
		{"quarry/storage/worker", append([]string{libp2p, wazero, jsonrpc}, chainNode...), "same"},
		{"quarry/api", []string{libp2p, wazero, jsonrpc, "quarry/node", "quarry/internal"}, "everybody links the API"},
		{"quarry/api/client", []string{libp2p, wazero}, "every command links the client"},
		{"quarry/node/config", []string{libp2p, jsonrpc}, "reading a config is cheap"},
		{"quarry/cmd/miner", append([]string{wazero}, chainNode...), "a miner talks to a node, it does not embed one"},
		{"quarry/cmd/miner-devnet", []string{libp2p, "quarry/markets", "quarry/sealing", "quarry/storage", "quarry/mining"},
			"the node knows nothing of providers"},
		{"quarry/proofs/porep", []string{libp2p, jsonrpc, wazero, "net/http"}, "proofs is mathematics"},
		{"quarry/proofs/post", []string{libp2p, jsonrpc, wazero, "net/http"}, "same"},
	} {
		for _, d := range deps(t, c.path) {
			for _, n := range c.not {
				if under(d, n) {
					t.Errorf("%s links %s: %s", c.path, d, c.why)
				}
			}
		}
	}
}

// The rules bite: each of these imports would be refused, or is fine.
func TestRulesBite(t *testing.T) {
	for _, c := range []struct {
		from, im string
		refused  bool
	}{
		{"quarry/markets/deals", "quarry/sealing", true},
		{"quarry/storage/worker", "quarry/mining/window", true},
		{"quarry/mining", "quarry/chain/heads", false},
		{"quarry/mining", "quarry/chain/devnet", true},
		{"quarry/sealing", "quarry/node/repo", true},
		{"quarry/proofs/post", "quarry/api", true},
		{"quarry/proofs/post", "quarry/proofs/fr32", false},
		{"quarry/proofs/post", "net", true},
		{"quarry/proofs/post", "net/url", false},
		{"quarry/api", "quarry/internal/secret", true},
		{"quarry/api/client", "quarry/internal/secret", false},
		{"quarry/api/client", "quarry/node/serve", true},
		{"quarry/node/config", "quarry/markets", true},
		{"quarry/node", jsonrpc + "/auth", true},
		{"quarry/node/serve", jsonrpc, false},
		{"quarry/chain/devnet", jsonrpc, false},
		{"quarry/markets", "quarry/api/client", true},
		{"quarry/node", "quarry/api/apitest", true},
	} {
		refused := false
		for _, r := range rules() {
			if under(c.from, r.from) && !exempt(c.from, r) && forbidden(c.im, r) {
				refused = true
			}
		}
		if refused != c.refused {
			t.Errorf("%s importing %s: refused is %v", c.from, c.im, refused)
		}
	}
}
