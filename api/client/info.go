package client

import (
	"net"
	"net/url"
	"regexp"
	"strings"

	"quarry/api"
	"quarry/internal/secret"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// maxInfo bounds an API info string.
const maxInfo = 16 << 10

// Info is a parsed API info: where a process listens and the token it accepts.
type Info struct {
	Token secret.String
	base  *url.URL // scheme http or https, no trailing slash in the path
}

// jwt is three base64url parts, as Lotus requires of a token in front of an
// address (lotus cli/util/apiinfo.go).
var jwt = regexp.MustCompile(`^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$`)

// ParseInfo reads token:address or a bare address. The address is a multiaddr
// (/ip4/…, /ip6/…, /dns…; tls or wss in it means https), a URL (http, https,
// ws, wss) or host:port.
func ParseInfo(s string) (Info, error) {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > maxInfo {
		return Info{}, badInfo("it is empty or far too long")
	}
	token, addr := split(s)
	base, err := parseAddr(addr)
	if err != nil {
		return Info{}, err
	}
	return Info{Token: secret.New(token), base: base}, nil
}

// split cuts the token off. Without a colon before the address begins there is
// none.
func split(s string) (token, addr string) {
	t, rest, ok := strings.Cut(s, ":")
	if ok && jwt.MatchString(t) && !strings.HasPrefix(rest, "//") && !isPort(rest) {
		return t, rest
	}
	return "", s
}

// isPort tells node.example.com:1234 from token:address.
func isPort(s string) bool {
	for _, r := range s {
		if r < '0' || r > '9' {
			return false
		}
	}
	return true
}

func parseAddr(addr string) (*url.URL, error) {
	switch {
	case strings.HasPrefix(addr, "/"):
		return fromMultiaddr(addr)
	case strings.Contains(addr, "://"):
		return fromURL(addr)
	default:
		return fromURL("http://" + addr)
	}
}

func fromMultiaddr(addr string) (*url.URL, error) {
	ma, err := multiaddr.NewMultiaddr(addr)
	if err != nil {
		return nil, badInfo(err.Error())
	}
	scheme := "http"
	for _, c := range ma {
		switch c.Protocol().Code {
		case multiaddr.P_TLS, multiaddr.P_WSS, multiaddr.P_HTTPS:
			scheme = "https"
		}
	}
	network, host, err := manet.DialArgs(ma)
	if err != nil || !strings.HasPrefix(network, "tcp") {
		return nil, badInfo("the multiaddr has no TCP address, such as /ip4/127.0.0.1/tcp/1234/http")
	}
	return &url.URL{Scheme: scheme, Host: host}, nil
}

func fromURL(addr string) (*url.URL, error) {
	u, err := url.Parse(addr)
	if err != nil {
		return nil, badInfo("the address does not parse as a URL") // the text of err would repeat the token
	}
	switch u.Scheme {
	case "http", "https":
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	default:
		return nil, badInfo("the scheme is none of http, https, ws, wss")
	}
	if u.Hostname() == "" || strings.HasSuffix(u.Host, ":") || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, badInfo("the address needs a host and must not carry user, query or fragment")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return u, nil
}

func badInfo(reason string) error {
	return &api.ErrInvalid{What: "API info", Reason: reason, Hint: "it looks like TOKEN:/ip4/127.0.0.1/tcp/2345/http or TOKEN:https://host:2345"}
}

// URL is where calls are posted, for a path version such as v1.
func (i Info) URL(version string) string { return i.base.JoinPath("rpc", version).String() }

// Base is the scheme, host and path that byte routes are relative to.
func (i Info) Base() string { return i.base.String() }

// websocket is where subscriptions are opened.
func (i Info) websocket(version string) string {
	u := *i.base.JoinPath("rpc", version)
	u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
	return u.String()
}

// dialAddr is host:port for a plain TCP dial.
func (i Info) dialAddr() string {
	if i.base.Port() != "" {
		return i.base.Host
	}
	return net.JoinHostPort(i.base.Hostname(), i.base.Scheme) // the service names are http and https
}

// String names the peer without its token.
func (i Info) String() string {
	if i.base == nil {
		return "<no API info>"
	}
	return i.base.Host + i.base.Path
}
