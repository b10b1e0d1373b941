package apiinfo

import (
	"net"
	"net/url"
	"strings"

	"quarry/internal/secret"
)

// Info is a parsed API info: where a process listens and the token it accepts.
type Info struct {
	// Token is empty where only an address was given.
	Token secret.String
	addr  string   // as it was written
	base  *url.URL // scheme http or https, no trailing slash in the path
}

// URL is where calls are posted, for a path version such as v1.
func (i Info) URL(version string) string { return i.base.JoinPath("rpc", version).String() }

// Base is the scheme, host and path that byte routes are relative to.
func (i Info) Base() string { return i.base.String() }

// Websocket is where subscriptions are opened.
func (i Info) Websocket(version string) string {
	u := *i.base.JoinPath("rpc", version)
	u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
	return u.String()
}

// DialAddr is host:port for a plain TCP dial.
func (i Info) DialAddr() string {
	if i.base.Port() != "" {
		return i.base.Host
	}
	return net.JoinHostPort(i.base.Hostname(), i.base.Scheme) // the service names are http and https
}

// Address is the address as it was written: a multiaddr, a URL or host:port.
func (i Info) Address() string { return i.addr }

// String names the peer without its token.
func (i Info) String() string {
	if i.base == nil {
		return "<no API info>"
	}
	return i.base.Host + i.base.Path
}

// Format writes an API info; an empty token is left out.
func Format(token secret.String, address string) string {
	if token.Empty() {
		return address
	}
	return token.Reveal() + ":" + address
}
