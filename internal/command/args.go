package command

import "strings"

// arity is how many arguments a command takes.
type arity struct {
	least int
	most  int // -1 for any number
}

// argsOf reads an ArgsUsage, so that what is said of a command's arguments is
// what is taken: WORD or <some words> stand for one argument, [WORD] for one that
// may be missing, and ... behind either for one or more.
func argsOf(usage string) (a arity) {
	for s := strings.TrimSpace(usage); s != ""; s = strings.TrimSpace(s) {
		end := strings.IndexByte(s, ' ')
		switch s[0] {
		case '<':
			end = behind(s, '>')
		case '[':
			end = behind(s, ']')
		}
		if end < 0 {
			end = len(s)
		}
		word := s[:end]
		s = s[end:]
		if rest, ok := strings.CutPrefix(s, "..."); ok {
			word, s = word+"...", rest
		}
		if word[0] != '[' {
			a.least++
		}
		switch {
		case strings.HasSuffix(strings.TrimSuffix(word, "]"), "..."):
			a.most = -1
		case a.most >= 0:
			a.most++
		}
	}
	return a
}

// behind is the place after a closing bracket, -1 where there is none.
func behind(s string, closing byte) int {
	if i := strings.IndexByte(s, closing); i >= 0 {
		return i + 1
	}
	return -1
}
