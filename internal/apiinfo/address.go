package apiinfo

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// hostName is a name that may be looked up; underscores occur in the names of
// containers.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})?)*\.?$`)

// maxHost bounds the name of a host, bytes (RFC 1035).
const maxHost = 253

func parseAddress(addr string) (*url.URL, error) {
	switch {
	case strings.HasPrefix(addr, "/"):
		return fromMultiaddr(addr)
	case strings.Contains(addr, "://"):
		return fromURL(addr)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, bad("the address is neither a multiaddr nor a URL nor host:port")
	}
	if err := reachable(host, port); err != nil {
		return nil, err
	}
	return &url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}, nil
}

// reachable refuses a host and port that nobody can be dialled at.
func reachable(host, port string) error {
	if !isHost(host) {
		return bad("the host in the address is neither an IP address nor the name of a host")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return bad("the port in the address is not a number from 1 to 65535")
	}
	return nil
}

func isHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return len(host) <= maxHost && hostName.MatchString(host) && !strings.HasPrefix(host, "eyJ")
}

// afterTCP are the protocols that may follow /tcp/ in a multiaddr.
var afterTCP = map[int]string{
	multiaddr.P_HTTP:  "http",
	multiaddr.P_WS:    "http",
	multiaddr.P_TLS:   "https",
	multiaddr.P_HTTPS: "https",
	multiaddr.P_WSS:   "https",
}

func fromMultiaddr(addr string) (*url.URL, error) {
	ma, err := multiaddr.NewMultiaddr(addr)
	if err != nil {
		return nil, bad(wrongPart(addr))
	}
	scheme := "http"
	for i, c := range ma {
		if i < 2 {
			continue // host and port, which DialArgs judges
		}
		s, ok := afterTCP[c.Protocol().Code]
		if !ok {
			return nil, bad("the multiaddr goes on after /tcp/PORT with what is none of /http, /https, /tls, /ws, /wss " +
				"(a libp2p address is no address of an API)")
		}
		if s == "https" {
			scheme = s
		}
	}
	network, host, err := manet.DialArgs(ma)
	if err != nil || !strings.HasPrefix(network, "tcp") {
		return nil, bad("the multiaddr has no TCP address, such as /ip4/127.0.0.1/tcp/1234/http")
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		return nil, bad("the multiaddr has no host and port")
	}
	if err := reachable(name, port); err != nil {
		return nil, err
	}
	return &url.URL{Scheme: scheme, Host: host}, nil
}

// wrongPart says which part of a multiaddr does not parse, by its place: what
// stands there may be a secret.
func wrongPart(addr string) string {
	parts := strings.Split(strings.Trim(addr, "/"), "/")
	for i := 0; i < len(parts); i++ {
		p := multiaddr.ProtocolWithName(parts[i])
		switch {
		case p.Code == 0:
			return "part " + strconv.Itoa(i+1) + " of the multiaddr is no protocol such as ip4, dns4, tcp, http"
		case p.Size == 0:
			continue
		case i+1 == len(parts):
			return "the multiaddr ends after /" + p.Name + ", whose value is missing"
		}
		if _, err := multiaddr.NewComponent(p.Name, parts[i+1]); err != nil {
			return "what follows /" + p.Name + "/ in the multiaddr is no value for it"
		}
		i++
	}
	return "the multiaddr does not parse"
}

func fromURL(addr string) (*url.URL, error) {
	u, err := url.Parse(addr)
	if err != nil {
		return nil, bad("the address does not parse as a URL") // the text of err would repeat it
	}
	switch u.Scheme {
	case "http", "https":
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	default:
		return nil, bad("the scheme is none of http, https, ws, wss")
	}
	if u.Hostname() == "" || strings.HasSuffix(u.Host, ":") || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return nil, bad("the URL needs a host and must not carry user, query or fragment")
	}
	if err := reachable(u.Hostname(), orDefault(u.Port())); err != nil {
		return nil, err
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return u, nil
}

// orDefault stands in for a port that is not written: that of the scheme.
func orDefault(port string) string {
	if port == "" {
		return "80"
	}
	return port
}
