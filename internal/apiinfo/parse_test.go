package apiinfo

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"quarry/api"
	"quarry/internal/secret"
)

// real is a token as the nodes make them.
var real = part(`{"alg":"HS256","typ":"JWT"}`) + "." + part(`{"Allow":["read"],"jti":"x"}`) + ".c2lnbmF0dXJlLW9mLWl0"

func part(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestTokenAndAddressAreToldApart(t *testing.T) {
	for in, want := range map[string]struct{ token, rpc, ws, addr string }{
		"a.b.c:/ip4/127.0.0.1/tcp/1234/http": {"a.b.c", "http://127.0.0.1:1234/rpc/v1", "ws://127.0.0.1:1234/rpc/v1",
			"/ip4/127.0.0.1/tcp/1234/http"},
		"a.b.c:/ip6/::1/tcp/1234": {"a.b.c", "http://[::1]:1234/rpc/v1", "ws://[::1]:1234/rpc/v1", "/ip6/::1/tcp/1234"},
		"a.b.:/dns4/node.example/tcp/443/wss": {"a.b.", "https://node.example:443/rpc/v1", "wss://node.example:443/rpc/v1",
			"/dns4/node.example/tcp/443/wss"},
		"/dns/node.example/tcp/443/tls/http": {"", "https://node.example:443/rpc/v1", "wss://node.example:443/rpc/v1",
			"/dns/node.example/tcp/443/tls/http"},
		"/dns6/node.example/tcp/443/https": {"", "https://node.example:443/rpc/v1", "wss://node.example:443/rpc/v1",
			"/dns6/node.example/tcp/443/https"},
		"/ip4/1.2.3.4/tcp/5/ws": {"", "http://1.2.3.4:5/rpc/v1", "ws://1.2.3.4:5/rpc/v1", "/ip4/1.2.3.4/tcp/5/ws"},
		"a.b.c:https://node.example/sub/": {"a.b.c", "https://node.example/sub/rpc/v1", "wss://node.example/sub/rpc/v1",
			"https://node.example/sub/"},
		"a.b.c:ws://[2001:db8::1]:80": {"a.b.c", "http://[2001:db8::1]:80/rpc/v1", "ws://[2001:db8::1]:80/rpc/v1",
			"ws://[2001:db8::1]:80"},
		"wss://node.example":            {"", "https://node.example/rpc/v1", "wss://node.example/rpc/v1", "wss://node.example"},
		"http://127.0.0.1:1234":         {"", "http://127.0.0.1:1234/rpc/v1", "ws://127.0.0.1:1234/rpc/v1", "http://127.0.0.1:1234"},
		"127.0.0.1:1234":                {"", "http://127.0.0.1:1234/rpc/v1", "ws://127.0.0.1:1234/rpc/v1", "127.0.0.1:1234"},
		"[::1]:65535":                   {"", "http://[::1]:65535/rpc/v1", "ws://[::1]:65535/rpc/v1", "[::1]:65535"},
		"node.example.com:1":            {"", "http://node.example.com:1/rpc/v1", "ws://node.example.com:1/rpc/v1", "node.example.com:1"},
		"my_node:1":                     {"", "http://my_node:1/rpc/v1", "ws://my_node:1/rpc/v1", "my_node:1"},
		"a.b.c:localhost:1234":          {"a.b.c", "http://localhost:1234/rpc/v1", "ws://localhost:1234/rpc/v1", "localhost:1234"},
		"a.b.c:[::1]:1234":              {"a.b.c", "http://[::1]:1234/rpc/v1", "ws://[::1]:1234/rpc/v1", "[::1]:1234"},
		real + ":http://127.0.0.1:1234": {real, "http://127.0.0.1:1234/rpc/v1", "ws://127.0.0.1:1234/rpc/v1", "http://127.0.0.1:1234"},
		real + ":/ip4/10.0.0.1/tcp/9":   {real, "http://10.0.0.1:9/rpc/v1", "ws://10.0.0.1:9/rpc/v1", "/ip4/10.0.0.1/tcp/9"},
	} {
		i, err := Parse(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if i.Token.Reveal() != want.token || i.URL("v1") != want.rpc || i.Websocket("v1") != want.ws || i.Address() != want.addr {
			t.Errorf("%q: %q %s %s %s", in, i.Token.Reveal(), i.URL("v1"), i.Websocket("v1"), i.Address())
		}
		if back := Format(i.Token, i.Address()); back != in {
			t.Errorf("%q is written %q", in, back)
		}
	}
}

func TestPlainDialsNeedAPort(t *testing.T) {
	for in, want := range map[string]string{"http://h": "h:http", "https://h": "h:https", "https://h:1": "h:1",
		"http://[::1]": "[::1]:http"} {
		if i, err := Parse(in); err != nil || i.DialAddr() != want {
			t.Errorf("%s: %s, %v", in, i.DialAddr(), err)
		}
	}
	if s := (Info{}).String(); s != "<no API info>" {
		t.Error(s)
	}
	if i, err := Parse("a.b.c:http://h:1/x/"); err != nil || i.String() != "h:1/x" || i.Base() != "http://h:1/x" {
		t.Errorf("%s, %v", i, err)
	}
}

// Where a string was copied from leaves its traces.
func TestWhatSurroundsAnInfoIsTakenOff(t *testing.T) {
	const plain = "a.b.c:/ip4/1.2.3.4/tcp/5"
	for _, in := range []string{
		"  " + plain + "\n", "\t" + plain + "\r\n", `"` + plain + `"`, "'" + plain + "'", "`" + plain + "`", "“" + plain + "”",
		"‘" + plain + "’", ` " ` + plain + ` " `,
		"MINER_API_INFO=" + plain, "FULLNODE_API_INFO=" + plain, "MARKETS_API_INFO=" + plain, "WORKER_API_INFO=" + plain,
		`MINER_API_INFO="` + plain + `"`, `"MINER_API_INFO=` + plain + `"`, "export MINER_API_INFO=" + plain + "\n",
		"MINER_API_INFO= " + plain, "\ufeff" + plain,
	} {
		if i, err := Parse(in); err != nil || i.Token.Reveal() != "a.b.c" || i.Base() != "http://1.2.3.4:5" {
			t.Errorf("%q: %s, %v", in, i, err)
		}
	}
}

// Each mistake is named in its own words, and no error repeats anything that may
// be a token.
func TestMistakesInAPIInfosAreNamed(t *testing.T) {
	for in, want := range map[string]string{
		"": "it is empty", " ": "it is empty", `""`: "it is empty", "MINER_API_INFO=": "it is empty", "\"": "a quote stands at one end",
		strings.Repeat("a", MaxBytes+1):              "longer than 16 KiB",
		"OTHER_API_INFO=" + real + ":/ip4/1.2.3.4":   "begins with OTHER_API_INFO=, which is no variable",
		"LOTUS_X=" + real:                            "begins with LOTUS_X=",
		strings.Repeat("A", 39) + "_B=" + real:       "begins with a name of A…=",
		real + "/ip4/1.2.3.4/tcp/5":                  "the colon between the token and the address is missing",
		real + "/ip6/::1/tcp/5":                      "the colon between the token and the address is missing",
		real + "http://1.2.3.4:5":                    "the colon between the token and the address is missing",
		"hush/dns4/host/tcp/5":                       "the colon between the token and the address is missing",
		"a.b.hushhttp://1.2.3.4:5":                   "the colon between the token and the address is missing",
		real + " /ip4/1.2.3.4/tcp/5":                 "a space or a line break inside",
		real + ":/ip4/1.2.3.4/tcp/5\n" + real + ":x": "a space or a line break inside",
		real:                              "a token without an address",
		real + ":":                        "a token without an address",
		real + ":1234":                    "a token without an address",
		"a.b.hush:":                       "nothing follows the colon",
		"a.b.hush":                        "a token without an address, or a host without a port",
		"hush":                            "a token without an address, or a host without a port",
		"localhost":                       "a host without a port",
		":/ip4/1.2.3.4/tcp/5":             "no token before it",
		"hush:/ip4/1.2.3.4/tcp/5":         "is no token; a token has three parts",
		"a.hush:http://1.2.3.4:5":         "is no token; a token has three parts",
		"hush:host:5":                     "is no token; a token has three parts",
		"/ip4/1.2.3.4/tcp/5/http:" + real: "was the order reversed",
		"http://1.2.3.4:5:" + real:        "was the order reversed",
		"http://" + real + ":5":           "a token stands inside",
		"http://1.2.3.4:5/?token=" + real: "a token stands inside",
		real + ":/ip4/1.2.3.4/tcp/5" + real + ":/ip4":                              "were two strings pasted together",
		real + ":/ip4/1.2.3.4/tcp/5MINER_API_INFO=" + real + ":/ip4/1.2.3.4/tcp/5": "the name of a variable in the middle",
		"::1": "stands in brackets", "::1:1234": "stands in brackets", "2001:db8::1:80": "stands in brackets",
		"a.b.hush:::1:80":                "neither a multiaddr nor a URL nor host:port",
		"ftp://x":                        "the scheme is none of",
		"a.b.hush:ftp://x":               "the scheme is none of",
		"http://":                        "the URL needs a host",
		"http://:80":                     "the URL needs a host",
		"http://h:":                      "the URL needs a host",
		"http://u:hush@h":                "must not carry user",
		"http://h?x=hush":                "must not carry user, query",
		"http://h?":                      "must not carry user, query",
		"http://h#hush":                  "must not carry user, query or fragment",
		"http://h:0":                     "from 1 to 65535",
		"http://h:65536":                 "from 1 to 65535",
		"h:65536":                        "from 1 to 65535",
		"h:x":                            "from 1 to 65535",
		"http://%zz":                     "does not parse as a URL",
		"http://h_^ush:1":                "does not parse as a URL",
		"http://-hush:1":                 "neither an IP address nor the name of a host",
		"-hush:1":                        "neither an IP address nor the name of a host",
		strings.Repeat("a", 64) + ":1":   "neither an IP address nor the name of a host",
		strings.Repeat("a.", 127) + ":1": "neither an IP address nor the name of a host",
		"[hush:1":                        "neither a multiaddr nor a URL nor host:port",
		"/ip4/1.2.3.4/udp/1":             "no TCP address",
		"/ip4/1.2.3.4":                   "no TCP address",
		"/ip4/1.2.3.4/tcp/0":             "from 1 to 65535",
		"/ip4/1.2.3.4/tcp/1/p2p/12D3KooWD3bfmNbuuuVCYwUqZuYmFUPTxmNGsLQQJbFPnk2Q9Fn2": "a libp2p address is no address of an API",
		"/ip4/1.2.3.4/tpc/1": "part 3 of the multiaddr is no protocol",
		"/hush/1.2.3.4":      "part 1 of the multiaddr is no protocol",
		"/ip4/hush/tcp/1":    "what follows /ip4/ in the multiaddr is no value",
		"/ip4/1.2.3.4/tcp/":  "ends after /tcp, whose value is missing",
		"/tcp/1/ip4/1.2.3.4": "no TCP address",
		"/":                  "part 1 of the multiaddr is no protocol",
	} {
		_, err := Parse(in)
		var invalid *api.ErrInvalid
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v\nwant %s", in, err, want)
			continue
		}
		if strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "eyJ") {
			t.Errorf("%q: the error repeats it: %v", in, err)
		}
	}
}

// Nothing that is given with a token prints it, whatever is wrong with the rest.
func TestTokensAreNotPrinted(t *testing.T) {
	for _, in := range []string{real + ":/ip4/1.2.3.4/tcp/5", real + ":http://h:1/p"} {
		i, err := Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprintf("%s %v %+v %#v", i, i, i, i); strings.Contains(text, real) {
			t.Errorf("printed: %s", text)
		}
	}
	if got := Format(secret.New(""), "h:1"); got != "h:1" {
		t.Error(got)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a.b.c:/ip4/127.0.0.1/tcp/1234/http", "http://[::1]:1", "a.b.c:h:1", "/dns/x/tcp/1/tls",
		"MINER_API_INFO=" + real + ":h:1", "'x'",
		real + "/ip4/1.2.3.4/tcp/5", "export X_Y=z", "@file", "::1:5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		i, err := Parse(s)
		if err == nil {
			good(t, s, i)
		}
		// A real token in the middle of anything is never shown.
		if _, err := Parse(s + real); err != nil && strings.Contains(err.Error(), real[10:]) {
			t.Fatalf("%q and a token: %v", s, err)
		}
		if _, err := Parse(real + s); err != nil && strings.Contains(err.Error(), real[10:]) {
			t.Fatalf("a token and %q: %v", s, err)
		}
	})
}

// good checks that an accepted info names a host, which is no token, and that it
// means the same when it is written and read again.
func good(t *testing.T, s string, i Info) {
	t.Helper()
	for _, u := range []string{i.URL("v1"), i.Websocket("v1")} {
		p, err := url.Parse(u)
		if err != nil || p.Host == "" || !strings.HasSuffix(p.Path, "/rpc/v1") {
			t.Fatalf("%q gives %q", s, u)
		}
	}
	tok := i.Token.Reveal()
	if tok != "" && len(tok) > 6 && strings.Contains(i.String(), tok) {
		t.Fatalf("%q prints its token", s)
	}
	if strings.Contains(i.String(), "eyJ") && anyJWT.MatchString(i.String()) {
		t.Fatalf("%q takes a token for a host", s)
	}
	j, err := Parse(Format(i.Token, i.Address()))
	if err != nil || j.Base() != i.Base() || j.Token.Reveal() != tok {
		t.Fatalf("%q: read again %s, %v", s, j, err)
	}
}
