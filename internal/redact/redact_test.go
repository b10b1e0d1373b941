package redact

import (
	"errors"
	"strings"
	"testing"
)

const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJBbGxvdyI6W119.c2lnbmF0dXJl"

func TestWhatIsOursIsTakenOut(t *testing.T) {
	for in, want := range map[string]string{
		"open /var/lib/miner/staging/x.payload: no space left":        "open <path>: no space left",
		`open "/srv/my data/x": permission denied`:                    `open "<path>": permission denied`,
		"stat ~/.miner/token: gone":                                   "stat <path>: gone",
		"read ../sealed/s-t01000-1: i/o error":                        "read <path>: i/o error",
		"path=/data,other=/more":                                      "path=<path>,other=<path>",
		"rename (/a/b) [/c/d]":                                        "rename (<path>) [<path>]",
		"/tmp/x":                                                      "<path>",
		"dial tcp 10.1.2.3:2345: connect: connection refused":         "dial tcp <host>: connect: connection refused",
		"dial tcp [fd00::1]:2345: refused":                            "dial tcp <host>: refused",
		"from fe80::1%eth0 and ::1":                                   "from <host> and <host>",
		"read udp 10.0.0.5->10.0.0.53: timeout":                       "read udp <host>-><host>: timeout",
		"dial tcp: lookup private-node on 10.0.0.53:53: no such host": "dial tcp: lookup <host> on <host>: no such host",
		"private.example.com:2345 unreachable":                        "<host> unreachable",
		`Post "http://private.example.com:2345/rpc/v1": EOF`:          `Post "<address>": EOF`,
		"peer https://u:p@h/x?token=1 is away":                        "peer <address> is away",
		"address /ip4/10.0.0.1/tcp/2345/http, gone":                   "address <address>, gone",
		"token " + jwt + " is refused":                                "token <token> is refused",
		"Authorization: Bearer a.b.c":                                 "Authorization: <token>",
		"API info " + jwt + ":/ip4/1.2.3.4/tcp/5":                     "API info <token>:<address>",
		"":                                  "",
		"sector 7 of f01000 is not proving": "sector 7 of f01000 is not proving",
		"try again at 2024-01-02T03:04:05Z, or 2024-01-02 " +
			"03:04:05.123+01:00, 03:04": "try again at 2024-01-02T03:04:05Z, or 2024-01-02 03:04:05.123+01:00, 03:04",
		"no link named \"a\" under bafkqaaa, see " +
			"/ipfs/bafkqaaa/x": "no link named \"a\" under bafkqaaa, see /ipfs/bafkqaaa/x",
		"/fil/storage/mk/1.2.1 is not spoken": "/fil/storage/mk/1.2.1 is not spoken",
		"12/34 done, 5 GB/s, and/or, n/a":     "12/34 done, 5 GB/s, and/or, n/a",
		"deal 3f2504e0-4f89-11d3-9a0c-0305e82c3301: price 1.5 FIL; " +
			"version 1.2.3": "deal 3f2504e0-4f89-11d3-9a0c-0305e82c3301: price 1.5 FIL; version 1.2.3",
		"ratio 10:20": "ratio 10:20",
	} {
		if got := Text(in); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
}

// What the receiver named himself he may read again.
func TestWhatIsKept(t *testing.T) {
	in := "client.example:80: server answered 404; dial 10.0.0.1:1 ([::1]:80)"
	want := "client.example:80: server answered 404; dial <host> ([::1]:80)"
	if got := Text(in, "client.example:80", "[::1]:80"); got != want {
		t.Error(got)
	}
	was := self
	t.Cleanup(func() { self = was })
	const name = "farm7"
	self = func() string { return name }
	if got := Text("process 3 on " + name + " since"); got != "process 3 on <host> since" {
		t.Error(got)
	}
	if got := Text("process 3 on "+name+" since", name); got != "process 3 on "+name+" since" {
		t.Error(got)
	}
}

// A name that may be a word would take words out of sentences.
func TestNamesThatAreWords(t *testing.T) {
	for name, want := range map[string]string{"farm": "farm", "box": "", "localhost": "", "": ""} {
		if got := tellable(name, nil); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
	if got := tellable("farm", errors.New("no name")); got != "" {
		t.Error(got)
	}
}

func TestJSONIsRedactedInside(t *testing.T) {
	in := `{"Peer":"h:80","N":7,"List":["/a/b",null,{"x":"` + jwt + `"}]}`
	want := `{"List":["\u003cpath\u003e",null,{"x":"\u003ctoken\u003e"}],"N":7,"Peer":"\u003chost\u003e"}`
	if got := string(JSON([]byte(in))); got != want {
		t.Error(got)
	}
	if got := string(JSON([]byte("{"))); got != "null" {
		t.Error(got)
	}
}

func FuzzText(f *testing.F) {
	f.Add("open ", ": gone")
	f.Add("\"", "\"")
	f.Add("at 2024-01-02T03:04:05Z on [", "]")
	f.Fuzz(func(t *testing.T, before, after string) {
		for _, ours := range []string{" " + jwt + " ", " 10.11.12.13:2345 ", " /var/lib/miner/token ",
			` Post "http://private.example:2345/rpc/v1": `} {
			got := Text(before + ours + after)
			for _, part := range []string{"eyJhbGciOiJIUzI1NiJ9", "10.11.12.13", "lib/miner", "private.example"} {
				if strings.Contains(ours, part) && !strings.Contains(before+after, part) && strings.Contains(got, part) {
					t.Fatalf("%q gives %q", before+ours+after, got)
				}
			}
		}
	})
}
