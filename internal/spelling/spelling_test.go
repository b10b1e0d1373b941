package spelling

import (
	"strings"
	"testing"
)

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"list", "list", 0},
		{"lst", "list", 1},
		{"lists", "list", 1},
		{"lint", "list", 1},
		{"kitten", "sitting", 3},
		{"ab", "ba", 2},
	} {
		if got := Distance(c.a, c.b); got != c.want {
			t.Errorf("from %q to %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"list", "status", "storage-deals", "storage", "attach"}
	for word, want := range map[string]string{
		"lst":                    "list",
		"LIST":                   "list",
		"lixy":                   "",
		"stat":                   "status",
		"sta":                    "status",
		"st":                     "",
		"storag":                 "storage",
		"storage-dels":           "storage-deals",
		"atach":                  "attach",
		"frobnicate":             "",
		"":                       "",
		strings.Repeat("a", 121): "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
	if got := Nearest("x", []string{"y", "yes"}); got != "y" {
		t.Errorf("one letter wrong: %q", got)
	}
	long := strings.Repeat("a", 120)
	if got := Nearest(long, []string{long + "b"}); got != long+"b" {
		t.Error("a word of the greatest length is not compared")
	}
}
