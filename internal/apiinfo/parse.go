package apiinfo

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"quarry/api"
	"quarry/internal/secret"
)

// MaxBytes bounds an API info string.
const MaxBytes = 16 << 10

// Variables are the environment variables that hold API infos. A string copied
// together with one of these names is understood.
var Variables = []string{"FULLNODE_API_INFO", "MINER_API_INFO", "MARKETS_API_INFO", "WORKER_API_INFO"}

var (
	// jwt is three base64url parts, as Lotus requires of a token in front of an
	// address (lotus cli/util/apiinfo.go).
	jwt = regexp.MustCompile(`^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$`)
	// anyJWT finds a token whose first part is a JSON object, as it is of every real
	// one, anywhere.
	anyJWT = regexp.MustCompile(`eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.`)
	// variable is what the name of an environment variable looks like.
	variable = regexp.MustCompile(`^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$`)
	scheme   = regexp.MustCompile(`(https?|wss?)://`)
	// network begins a multiaddr that can be dialled.
	network = regexp.MustCompile(`/(ip4|ip6|dns|dns4|dns6|dnsaddr)/`)
	digits  = regexp.MustCompile(`^[0-9]+$`)
)

// Parse reads TOKEN:ADDRESS or a bare address. The address is a multiaddr
// (/ip4/…, /ip6/…, /dns…; tls, https or wss in it means https), a URL (http,
// https, ws, wss) or host:port. White space and quotes around it and one of
// Variables with = before it are taken off. Errors are *api.ErrInvalid and repeat
// nothing of s but the name of a variable.
func Parse(s string) (Info, error) {
	if len(s) > MaxBytes {
		return Info{}, bad("it is longer than 16 KiB")
	}
	s, err := bare(s)
	if err != nil {
		return Info{}, err
	}
	token, addr, err := split(s)
	if err != nil {
		return Info{}, err
	}
	if anyJWT.MatchString(addr) {
		return Info{}, bad("a token stands inside or after the address; was the order reversed, or were two strings pasted together?")
	}
	base, err := parseAddress(addr)
	if err != nil {
		return Info{}, err
	}
	return Info{Token: secret.New(token), addr: addr, base: base}, nil
}

func bad(reason string) error {
	return &api.ErrInvalid{
		What:   "API info",
		Reason: reason,
		Hint:   "it looks like TOKEN:/ip4/127.0.0.1/tcp/2345/http or TOKEN:https://host:2345, or @FILE for a file that holds it",
	}
}

// bare takes off what surrounds an API info where it was copied from: white
// space, quotes, the name of the variable.
func bare(s string) (string, error) {
	s = strings.TrimPrefix(s, "\ufeff")
	for _, step := range []func(string) (string, error){unname, unquote, unname} { // the quotes are around all or behind the name
		var err error
		if s, err = step(s); err != nil {
			return "", err
		}
	}
	switch {
	case s == "":
		return "", bad("it is empty")
	case strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return "", bad("there is a space or a line break inside it; between token and address stands a colon, and only one " +
			"string is wanted")
	case strings.Contains(s, "_API_INFO="):
		return "", bad("it holds the name of a variable in the middle; were two strings pasted together?")
	}
	return s, nil
}

// unname takes off the name of the variable.
func unname(s string) (string, error) {
	s = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(s), "export "))
	name, rest, ok := strings.Cut(s, "=")
	switch {
	case !ok || !variable.MatchString(name):
		return s, nil
	case !slices.Contains(Variables, name):
		return "", bad("it begins with " + shortName(name) + "=, which is no variable for an API info (those are " +
			strings.Join(Variables, ", ") + ")")
	}
	return strings.TrimSpace(rest), nil
}

// shortName keeps what could be a secret after all out of an error.
func shortName(name string) string {
	if len(name) > 40 {
		return "a name of " + name[:1] + "…"
	}
	return name
}

// unquote trims white space and takes off one pair of quotes.
func unquote(s string) (string, error) {
	s = strings.TrimSpace(s)
	for _, pair := range []struct{ open, end string }{{`"`, `"`}, {`'`, `'`}, {"`", "`"}, {"“", "”"}, {"‘", "’"}} {
		opened, ended := strings.HasPrefix(s, pair.open), strings.HasSuffix(s, pair.end)
		if opened && ended && len(s) >= len(pair.open)+len(pair.end) {
			return strings.TrimSpace(s[len(pair.open) : len(s)-len(pair.end)]), nil
		}
		if opened || ended {
			return "", bad("a quote stands at one end of it only")
		}
	}
	return s, nil
}

// split cuts the token off. A real token (a JSON object begins it) is never part
// of an address; what only looks like one is the name of a host when nothing but a
// port follows.
func split(s string) (token, addr string, err error) {
	if strings.HasPrefix(s, "/") || begins(scheme, s) {
		return "", s, nil
	}
	if glued(s) {
		return "", "", bad("the colon between the token and the address is missing")
	}
	before, rest, colon := strings.Cut(s, ":")
	switch {
	case !colon && anyJWT.MatchString(s):
		return "", "", bad("it is a token without an address")
	case !colon:
		return "", "", bad("it has no colon: it is a token without an address, or a host without a port")
	case unbracketed(s):
		return "", "", bad("an IPv6 address stands in brackets: [::1]:2345")
	case before == "":
		return "", "", bad("there is a colon and no token before it; leave out the colon where no token is needed")
	case strings.HasPrefix(rest, "//"):
		return "", "", bad("the scheme is none of http, https, ws, wss")
	case anyJWT.MatchString(before) && (rest == "" || digits.MatchString(rest)):
		return "", "", bad("it is a token without an address")
	case jwt.MatchString(before) && rest == "":
		return "", "", bad("nothing follows the colon; there the address is to be")
	case jwt.MatchString(before) && !digits.MatchString(rest):
		return before, rest, nil
	case strings.HasPrefix(before, "["), !strings.Contains(rest, ":") && !strings.HasPrefix(rest, "/"):
		return "", s, nil // host:port
	}
	return "", "", bad("what stands before the address is no token; a token has three parts with dots between them")
}

func begins(re *regexp.Regexp, s string) bool {
	at := re.FindStringIndex(s)
	return at != nil && at[0] == 0
}

// glued finds an address that begins in the middle without a colon before it.
func glued(s string) bool {
	for _, re := range []*regexp.Regexp{network, scheme} {
		if at := re.FindStringIndex(s); at != nil && at[0] > 0 && !strings.Contains(s[:at[0]], "/") {
			return s[at[0]-1] != ':'
		}
	}
	return false
}

// unbracketed tells whether s is an IPv6 address, with or without a port, that
// lacks its brackets.
func unbracketed(s string) bool {
	if strings.Count(s, ":") < 2 {
		return false
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	a, err := netip.ParseAddr(s[:strings.LastIndexByte(s, ':')])
	return err == nil && a.Is6()
}
