package redact

import (
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// What stands in the place of what was taken out.
const (
	aToken = "<token>"
	aHost  = "<host>"
	aPath  = "<path>"
	aURL   = "<address>"
)

var (
	token    = regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)?`)
	bearer   = regexp.MustCompile(`(?i)\bbearer\s+[^\s"',;]+`)
	url      = regexp.MustCompile(`\b[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>)\]]+`)
	network  = regexp.MustCompile(`/(ip4|ip6|ip6zone|dns|dns4|dns6|dnsaddr|unix)/[^\s"'<>),;]+`)
	quotedAt = regexp.MustCompile(`"(/|~/|[A-Za-z]:\\)[^"\n]*"`)
	path     = regexp.MustCompile(`(^|[\s"'(\[{=:,;>])((~|\.{1,2})?/[^\s"'()\[\]{},;:<>]+)`)
	lookup   = regexp.MustCompile(`\blookup [^\s:]+`)
	stamp    = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?`)
	ipv6     = regexp.MustCompile(`\[?[0-9A-Fa-f]{0,4}(:[0-9A-Fa-f]{0,4}){2,7}(%[A-Za-z0-9]+)?(\d{1,3}(\.\d{1,3}){3})?\]?(:\d{1,5})?`)
	ipv4     = regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}(:\d{1,5})?\b`)
	hostPort = regexp.MustCompile(`\b[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?:\d{2,5}\b`)
)

// public are the beginnings of what looks like a path and is a name that clients
// themselves use.
var public = []string{"/ipfs/", "/ipns/", "/piece/", "/fil/", "/rpc/", "/health/", "/http", "/libp2p/"}

// self is the name of this host; a variable for tests, which have one of their own.
var self = sync.OnceValue(func() string { return tellable(os.Hostname()) })

// tellable is a host's name where it can be told from a word: neither short nor
// that of every host. It is empty for others.
func tellable(name string, err error) string {
	if err != nil || len(name) < 4 || name == "localhost" {
		return ""
	}
	return name
}

// Text is s without tokens, URLs, addresses, hosts and paths; each leaves a mark
// such as <path>. A host or host:port that equals one of keep stays: one that the
// receiver named itself.
func Text(s string, keep ...string) string {
	r := redactor{keep: keep}
	s = token.ReplaceAllString(s, aToken)
	s = bearer.ReplaceAllString(s, aToken)
	s = url.ReplaceAllString(s, aURL)
	s = network.ReplaceAllString(s, aURL)
	s = quotedAt.ReplaceAllStringFunc(s, func(m string) string {
		if isPublic(m[1:]) {
			return m
		}
		return `"` + aPath + `"`
	})
	s = path.ReplaceAllStringFunc(s, func(m string) string {
		at := strings.IndexAny(m, "/~.")
		if isPublic(m[at:]) {
			return m
		}
		return m[:at] + aPath
	})
	s = lookup.ReplaceAllString(s, "lookup "+aHost)
	s = r.hosts(s)
	if name := self(); name != "" && !slices.Contains(keep, name) {
		s = strings.ReplaceAll(s, name, aHost)
	}
	return s
}

func isPublic(p string) bool {
	return slices.ContainsFunc(public, func(b string) bool { return strings.HasPrefix(p, b) })
}

type redactor struct{ keep []string }

// hosts takes out addresses and host:port, and leaves times alone, which look
// alike.
func (r redactor) hosts(s string) string {
	var b strings.Builder
	for {
		at := stamp.FindStringIndex(s)
		if at == nil {
			return b.String() + r.hostsBetween(s)
		}
		b.WriteString(r.hostsBetween(s[:at[0]]) + s[at[0]:at[1]])
		s = s[at[1]:]
	}
}

func (r redactor) hostsBetween(s string) string {
	s = ipv6.ReplaceAllStringFunc(s, func(m string) string {
		if slices.Contains(r.keep, m) || !isIP(m) {
			return m
		}
		return aHost
	})
	s = ipv4.ReplaceAllStringFunc(s, func(m string) string {
		if slices.Contains(r.keep, m) {
			return m
		}
		return aHost
	})
	return hostPort.ReplaceAllStringFunc(s, func(m string) string {
		if slices.Contains(r.keep, m) || strings.Trim(m, "0123456789:") == "" {
			return m // a time of day, or a ratio
		}
		return aHost
	})
}

func isIP(s string) bool {
	if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return true
	}
	host, _, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = netip.ParseAddr(host)
	return err == nil
}

// JSON is a document with Text applied to every string in it; one that does not
// parse becomes null.
func JSON(doc []byte) []byte {
	var v any
	if json.Unmarshal(doc, &v) != nil {
		return []byte("null")
	}
	out, err := json.Marshal(walk(v))
	if err != nil {
		return []byte("null")
	}
	return out
}

func walk(v any) any {
	switch v := v.(type) {
	case string:
		return Text(v)
	case []any:
		for i := range v {
			v[i] = walk(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = walk(v[k])
		}
	}
	return v
}
