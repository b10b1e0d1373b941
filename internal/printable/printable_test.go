package printable

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// shows is how texts of strangers look in one line.
var shows = map[string]string{
	"plain text, é and 日本":        "plain text, é and 日本",
	`quote " and \`:               `quote " and \`,
	"a\tb\nc\r\x00\x7f":           `a\tb\nc\r\x00\u007f`,
	"\x1b]0;x\a\x1b[31mred":       `\x1b]0;x\x07\x1b[31mred`,
	"\u009b31m \u0085":            `\u009b31m \u0085`, // the same in one character
	"\u202eevil\u2066\u200f":      `\u202eevil\u2066\u200f`,
	"zero\u200bwidth\ufeff\u00ad": `zero\u200bwidth\ufeff\u00ad`,
	"\u2028\u2029\u00a0\u3000":    `\u2028\u2029\u00a0\u3000`,
	"\xff\xfe\ufffd":              `\xff\xfe` + "\ufffd",
	"\U000e0041\U0001f600":        `\udb40\udc41` + "\U0001f600", // a tag character, a face
	"\u3164\u115f\u2800\ufe0f":    `\u3164\u115f\u2800\ufe0f`,
	"\U000e0100":                  `\udb40\udd00`,
	"\u00a1~ ":                    "\u00a1~ ",
}

func TestLine(t *testing.T) {
	for in, want := range shows {
		if got := Line(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
		if got := Escape(in, 1000); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestEscapeCuts(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"12345", 5, "12345"}, {"123456", 5, "12345..."}, {"1234\x1b", 5, "1234..."}, {"1\x1b", 5, `1\x1b`}, {"é", 1, "..."},
		{"é", 2, "é"}, {"", 0, ""}, {"a", 0, "..."},
	} {
		if got := Escape(c.in, c.limit); got != c.want {
			t.Errorf("%q within %d: %s", c.in, c.limit, got)
		}
	}
	if got := Quote("it's \"so\" \x1b"); got != `"it's 'so' \x1b"` {
		t.Error(got)
	}
	if got := Quote(strings.Repeat("a", 101)); got != `"`+strings.Repeat("a", 100)+`..."` {
		t.Error(got)
	}
	if got := Brief(" \tname\n " + "\x1b "); got != `name\n \x1b` {
		t.Error(got)
	}
	if got := Brief(strings.Repeat("x", 201)); got != strings.Repeat("x", 200)+"..." {
		t.Error(got)
	}
}

// A writer escapes what Line does, but for line breaks and tabs, however the text
// is cut into writes.
func TestWriter(t *testing.T) {
	for in := range shows {
		want := strings.NewReplacer(`\n`, "\n", `\t`, "\t").Replace(Line(in))
		for cut := range len(in) + 1 {
			var out bytes.Buffer
			w := NewWriter(&out)
			for _, part := range []string{in[:cut], in[cut:], "."} {
				if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
					t.Fatalf("%q: %d, %v", part, n, err)
				}
			}
			if out.String() != want+"." {
				t.Errorf("%q cut at %d: %q, want %q", in, cut, out.String(), want)
			}
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestWriterTellsErrors(t *testing.T) {
	w := NewWriter(broken{})
	if n, err := w.Write([]byte("x")); n != 0 || err == nil || err.Error() != "gone" {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := w.Write(nil); n != 0 || err != nil {
		t.Errorf("nothing: %d, %v", n, err)
	}
}

// JSON that goes through a writer is escaped, and decodes to the same.
func TestJSONKeepsItsMeaning(t *testing.T) {
	in := map[string]string{}
	for text := range shows {
		if utf8.ValidString(text) { // the encoder replaces what is not
			in[text] = text
		}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(NewWriter(&out))
	enc.SetIndent("", "\t")
	if err := enc.Encode(in); err != nil {
		t.Fatal(err)
	}
	harmless(t, out.String())
	var back map[string]string
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || !reflect.DeepEqual(back, in) {
		t.Errorf("%v\n%q", err, back)
	}
}

// harmless fails for a text with anything that a terminal would obey or hide.
func harmless(t *testing.T, text string) {
	t.Helper()
	for _, r := range text {
		if r != '\n' && r != '\t' && !drawn(r) {
			t.Fatalf("%U in %q", r, text)
		}
	}
}

type inner struct{ Text string }

type name string

type known string

func (k known) MarshalText() ([]byte, error) { return []byte(k), nil }

type everything struct {
	Plain   string
	Named   name
	Own     known
	List    []string
	Array   [1]inner
	Map     map[string]*inner
	Any     any
	Pointer *inner
	Nil     *inner
	Bytes   []byte
	Err     error
	At      time.Time
	hidden  string
}

// Every text in a result is one line afterwards, whatever it is in.
func TestValueReachesEveryText(t *testing.T) {
	const evil, shown = "a\x1b\nb", `a\x1b\nb`
	in := everything{
		Plain:   evil,
		Named:   evil,
		Own:     evil,
		List:    []string{evil},
		Array:   [1]inner{{evil}},
		Map:     map[string]*inner{evil: {evil}, "b": nil},
		Any:     []any{evil, map[string]any{"x": evil}, 7, nil},
		Pointer: &inner{evil},
		Bytes:   []byte(evil),
		At:      time.Unix(1, 0),
		hidden:  evil,
	}
	want := everything{
		Plain:   shown,
		Named:   shown,
		Own:     evil, // types that write themselves are what they are
		List:    []string{shown},
		Array:   [1]inner{{shown}},
		Map:     map[string]*inner{shown: {shown}, "b": nil},
		Any:     []any{shown, map[string]any{"x": shown}, 7, nil},
		Pointer: &inner{shown},
		Bytes:   []byte(evil),
		At:      time.Unix(1, 0),
		hidden:  evil,
	}
	plain := in.Plain
	got := Value(reflect.ValueOf(in)).Interface().(everything)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if in.Plain != plain {
		t.Error("the value itself was changed")
	}
	if v := Value(reflect.Value{}); v.IsValid() {
		t.Error("a value from nothing")
	}
}

func TestCleanChangesInPlace(t *testing.T) {
	v := inner{"\x1b"}
	Clean(&v)
	if v.Text != `\x1b` {
		t.Error(v.Text)
	}
	Clean((*inner)(nil))
	Clean(nil)
	Clean(v) // nothing to change
}

// What refers to itself does not keep it for ever.
func TestValuesHaveADepth(t *testing.T) {
	type ring struct {
		Next *ring
		Text string
	}
	r := &ring{Text: "\x1b"}
	r.Next = r
	Clean(r)
	if r.Text != `\x1b` {
		t.Error(r.Text)
	}
}

func FuzzWriter(f *testing.F) {
	for in := range shows {
		f.Add([]byte(in), 1)
	}
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		cut = min(max(cut, 0), len(in))
		var out bytes.Buffer
		w := NewWriter(&out)
		fmt.Fprintf(w, "%s", in[:cut])
		fmt.Fprintf(w, "%s\n", in[cut:])
		harmless(t, out.String())
		harmless(t, Line(string(in)))
		if strings.ContainsAny(Line(string(in)), "\n\t") {
			t.Fatal("more than one line")
		}
	})
}
