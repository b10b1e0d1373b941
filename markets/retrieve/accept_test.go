package retrieve

import (
	"mime"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The type of the highest q is served, ?format= before all; what cannot be read
// of a header is passed over.
func TestNegotiation(t *testing.T) {
	const car, raw = "application/vnd.ipld.car", "application/vnd.ipld.raw"
	tests := map[string]struct {
		query  string
		accept []string
		want   string // empty: 406
	}{
		"CAR preferred":          {"", []string{"application/json;q=0.5, " + car + ";q=0.9"}, car},
		"JSON preferred":         {"", []string{"application/json, " + car + ";q=0.1"}, car},
		"raw preferred":          {"", []string{car + ";q=0.8, " + raw + ";q=0.9"}, raw},
		"first of equals":        {"", []string{raw + ";q=0.5," + car + ";q=0.5"}, raw},
		"no q is 1":              {"", []string{raw + ";q=0.999," + car}, car},
		"second line":            {"", []string{"text/html", car}, car},
		"refused":                {"", []string{car + ";q=0"}, ""},
		"refused 0.000":          {"", []string{car + ";q=0.000, " + raw + ";q=0.001"}, raw},
		"only JSON":              {"", []string{"application/json"}, ""},
		"anything":               {"", []string{"*/*"}, ""},
		"anything but CAR":       {"", []string{"*/*, " + car + ";q=0"}, ""},
		"anything of ours":       {"", []string{"application/*"}, ""},
		"nothing":                {"", nil, ""},
		"empty":                  {"", []string{""}, ""},
		"commas":                 {"", []string{",,, ,"}, ""},
		"q above 1":              {"", []string{car + ";q=1.001"}, ""},
		"q of 2":                 {"", []string{car + ";q=2," + raw + ";q=0.1"}, raw},
		"q below 0":              {"", []string{car + ";q=-1"}, ""},
		"q NaN":                  {"", []string{car + ";q=NaN"}, ""},
		"q of four digits":       {"", []string{car + ";q=0.0001"}, ""},
		"q 1.000":                {"", []string{car + ";q=1.000"}, car},
		"q 1.":                   {"", []string{car + ";q=1."}, car},
		"bad entry beside":       {"", []string{"a b c;;;, " + raw}, raw},
		"parameters kept":        {"", []string{car + "; version=1; order=dfs; dups=y; q=0.3"}, car + "; dups=y; order=dfs; version=1"},
		"version 2 passed over":  {"", []string{car + ";version=2, " + car + ";version=1;q=0.1"}, car + "; version=1"},
		"dups passed over":       {"", []string{car + ";dups=x, " + raw + ";q=0.1"}, raw},
		"order passed over":      {"", []string{car + ";order=bfs, " + raw + ";q=0.1"}, raw},
		"unknown parameter":      {"", []string{car + ";color=red, " + raw + ";q=0.1"}, car + "; color=red"},
		"version 2 alone":        {"", []string{car + ";version=2"}, car + "; version=2"},
		"comma in quotes":        {"", []string{`text/html;a="x, ` + raw + `", ` + car}, car},
		"escape in quotes":       {"", []string{`text/html;a="\", ` + raw + `", ` + car}, car},
		"capitals":               {"", []string{"Application/VND.ipld.CAR"}, car},
		"format alone":           {"format=car", nil, car},
		"format over Accept":     {"format=raw", []string{car}, raw},
		"format over q=0":        {"format=car", []string{car + ";q=0"}, car},
		"format with parameters": {"format=car", []string{raw + "," + car + ";dups=y;q=0.1"}, car + "; dups=y"},
		"format not served":      {"format=tar", []string{car}, ""},
		"format unknown":         {"format=cat", []string{car}, car},
		"format unknown alone":   {"format=cat", nil, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/ipfs/x?"+tt.query, nil)
			r.Header["Accept"] = tt.accept
			got, err := negotiate(r)
			require.Equal(t, tt.want, got)
			if tt.want == "" {
				require.ErrorIs(t, err, errNotAcceptable)
				require.Equal(t, 406, statusOf(err))
				return
			}
			require.NoError(t, err)
		})
	}
}

// An absurd header is refused before it is read.
func TestAbsurdAcceptIsRefused(t *testing.T) {
	const raw = "application/vnd.ipld.raw"
	for name, tt := range map[string]struct {
		accept []string
		ok     bool
	}{
		"64 ranges":      {[]string{strings.Repeat("a/b,", 63) + raw}, true},
		"65 ranges":      {[]string{strings.Repeat("a/b,", 64) + raw}, false},
		"65 in lines":    {strings.Split(strings.Repeat("a/b\n", 64)+raw, "\n"), false},
		"8 KiB":          {[]string{raw + strings.Repeat(" ", maxAccept-len(raw))}, true},
		"more":           {[]string{raw + strings.Repeat(" ", maxAccept-len(raw)+1)}, false},
		"more, in lines": {[]string{raw + strings.Repeat(" ", maxAccept-len(raw)), " "}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/ipfs/x", nil)
			r.Header["Accept"] = tt.accept
			_, err := negotiate(r)
			require.Equal(t, tt.ok, err == nil, "%v", err)
			if err != nil {
				require.ErrorIs(t, err, errAcceptTooLong)
				require.Equal(t, 431, statusOf(err))
			}
		})
	}
}

// The answer follows the negotiation.
func TestAcceptDecidesTheAnswer(t *testing.T) {
	s := newShop(t, Config{})
	b := raw(t, "bytes")
	s.piece("p", carOf(t, b))
	path := "/ipfs/" + b.c.String()
	for _, tt := range []struct {
		accept, query string
		code          int
		ctype         string
	}{
		{"application/json;q=0.5, application/vnd.ipld.car;q=0.9", "", 200, "application/vnd.ipld.car; version=1; order=dfs; dups=n"},
		{"application/vnd.ipld.raw;q=0.1, application/vnd.ipld.car;dups=y;q=0.9", "", 200,
			"application/vnd.ipld.car; version=1; order=dfs; dups=y"},
		{"application/vnd.ipld.car;q=0.1, application/vnd.ipld.raw", "", 200, "application/vnd.ipld.raw"},
		{"application/vnd.ipld.car;version=2", "", 400, "text/plain; charset=utf-8"},
		{"application/vnd.ipld.car;q=0", "", 406, "text/plain; charset=utf-8"},
		{strings.Repeat("a/b,", 65), "", 431, "text/plain; charset=utf-8"},
	} {
		resp, body, err := s.do("GET", path+tt.query, "Accept", tt.accept)
		require.NoError(t, err)
		require.Equal(t, tt.code, resp.StatusCode, "%s: %s", tt.accept, body)
		require.Equal(t, tt.ctype, resp.Header.Get("Content-Type"))
		require.Equal(t, "Accept", resp.Header.Get("Vary"))
		require.NotContains(t, resp.Header.Get("Content-Location"), "q=")
	}
}

func FuzzNegotiate(f *testing.F) {
	f.Add("application/vnd.ipld.car;q=0.9, */*;q=0.1", "car")
	f.Add(`a/b;c="\",`, "raw")
	f.Fuzz(func(t *testing.T, accept, format string) {
		r := httptest.NewRequest(http.MethodGet, "/ipfs/x", nil)
		r.Header.Set("Accept", accept)
		r.URL.RawQuery = "format=" + format
		got, err := negotiate(r)
		if (err == nil) != (strings.HasPrefix(got, typeRaw) || strings.HasPrefix(got, typeCAR)) {
			t.Fatalf("%q, %v for %q", got, err, accept)
		}
		if err != nil {
			return
		}
		if _, params, err := mime.ParseMediaType(got); err != nil || params["q"] != "" {
			t.Fatalf("%q, %v for %q", got, err, accept)
		}
	})
}
