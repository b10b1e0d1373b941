// Package spelling finds what a misspelt word probably meant. It decides nothing:
// a guess is shown to a person and never acted on.
package spelling

import "strings"

// maxWord bounds what is compared, in bytes: the work grows with its square.
const maxWord = 120

// Distance is the number of bytes to insert, delete or replace to make b of a
// (the Levenshtein distance).
func Distance(a, b string) int {
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		diag := prev[0]
		prev[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diag, prev[j+1] = prev[j+1], min(prev[j+1]+1, prev[j]+1, diag+cost)
		}
	}
	return prev[len(b)]
}

// Nearest is the known word that a misspelt one probably meant, empty when none
// is near: at most a third of its letters may be wrong, one in any case. Case
// does not count, and a beginning of three letters or more means the whole.
func Nearest(word string, known []string) string {
	if word == "" || len(word) > maxWord {
		return ""
	}
	w := strings.ToLower(word)
	best, dist, real := "", 1+max(1, len(word)/3), 0
	for _, k := range known {
		exact := Distance(w, strings.ToLower(k))
		d := exact
		if len(w) >= 3 && strings.HasPrefix(strings.ToLower(k), w) {
			d = min(d, 1)
		}
		if d < dist || d == dist && best != "" && exact < real {
			best, dist, real = k, d, exact
		}
	}
	return best
}
