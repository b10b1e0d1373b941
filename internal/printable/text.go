package printable

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// blank are letters to Unicode that a terminal draws as nothing.
var blank = []rune{'\u115f', '\u1160', '\u17b4', '\u17b5', '\u3164', '\uffa0', '\u034f', '\u2800'}

// drawn tells whether a terminal draws r and does nothing else. Of white space
// that is the space alone; characters that are invisible or turn the direction of
// the text are not drawn.
func drawn(r rune) bool {
	return r >= 0x20 && r < 0x7f || r >= 0xa0 && strconv.IsPrint(r) && !slices.Contains(blank, r) && !variation(r)
}

// variation tells the selectors that change how the character before looks, by
// which text can be hidden.
func variation(r rune) bool { return r >= 0xfe00 && r <= 0xfe0f || r >= 0xe0100 && r <= 0xe01ef }

// appendEscape writes r as JSON and Go understand it inside quotes: \n, \u202e.
// Only control characters below space, which JSON text never holds as they are,
// have the short form \x1b.
func appendEscape(b []byte, r rune) []byte {
	switch {
	case r == '\n':
		return append(b, `\n`...)
	case r == '\r':
		return append(b, `\r`...)
	case r == '\t':
		return append(b, `\t`...)
	case r < 0x20:
		return fmt.Appendf(b, `\x%02x`, r)
	case r > 0xffff:
		high, low := utf16.EncodeRune(r)
		return fmt.Appendf(b, `\u%04x\u%04x`, high, low)
	}
	return fmt.Appendf(b, `\u%04x`, r)
}

// Line shows a text in one line: everything that is not drawn is escaped, line
// breaks too, and so are bytes that are no UTF-8.
func Line(s string) string {
	for i, r := range s {
		if !drawn(r) || r == utf8.RuneError {
			return string(appendLine([]byte(s[:i]), s[i:]))
		}
	}
	return s
}

func appendLine(b []byte, s string) []byte {
	for i := 0; i < len(s); {
		part, n := shown(s[i:])
		b = append(b, part...)
		i += n
	}
	return b
}

// shown is how the first character of s is shown, and its length in s.
func shown(s string) (part string, n int) {
	r, n := utf8.DecodeRuneInString(s)
	switch {
	case r == utf8.RuneError && n <= 1:
		return fmt.Sprintf(`\x%02x`, s[0]), 1
	case drawn(r):
		return s[:n], n
	}
	return string(appendEscape(nil, r)), n
}

// Escape is Line, cut after limit bytes of what is shown; "..." says so.
func Escape(s string, limit int) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		part, n := shown(s[i:])
		if b.Len()+len(part) > limit {
			return b.String() + "..."
		}
		b.WriteString(part)
		i += n
	}
	return b.String()
}

// Brief is what somebody says of himself, such as a name or a version: without
// the space around it, and cut after 200 bytes.
func Brief(s string) string { return Escape(strings.TrimSpace(s), 200) }

// Quote shows text of a stranger in quotes, escaped, and cut to about 100 bytes.
func Quote(s string) string { return `"` + Escape(strings.ReplaceAll(s, `"`, `'`), 100) + `"` }
