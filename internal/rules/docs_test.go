package rules

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func read(t *testing.T, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{root}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var majorVersion = regexp.MustCompile(`/v\d+$`)

// directModules are what go.mod requires for our own sake, without host names of
// forges and major versions.
func directModules(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, line := range strings.Split(read(t, "go.mod"), "\n") {
		f := strings.Fields(line)
		if len(f) == 2 && strings.HasPrefix(f[1], "v") && strings.Contains(f[0], ".") {
			out = append(out, strings.TrimPrefix(majorVersion.ReplaceAllString(f[0], ""), "github.com/"))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// explained reads the table of docs/dependencies.md. A cell names several
// modules of one owner as: owner/first, second, third.
func explained(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, line := range strings.Split(read(t, "docs", "dependencies.md"), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 4 || !strings.Contains(cells[1], "/") && !strings.Contains(cells[1], ".") {
			continue
		}
		owner := ""
		for _, name := range strings.Split(cells[1], ",") {
			name, _, _ = strings.Cut(strings.TrimSpace(name), " ") // without versions
			if i := strings.LastIndexByte(name, '/'); i >= 0 {
				owner = name[:i+1]
			} else if regexp.MustCompile(`^v\d+$`).MatchString(name) {
				continue
			} else {
				name = owner + name
			}
			out[name] = strings.TrimSpace(cells[2])
		}
	}
	return out
}

// Every module we require has a reason on the page, and the page names no other.
func TestDependenciesExplained(t *testing.T) {
	modules, why := directModules(t), explained(t)
	if len(modules) < 20 {
		t.Fatalf("go.mod has only %v", modules)
	}
	for _, m := range modules {
		if len(why[m]) < 10 {
			t.Errorf("docs/dependencies.md does not say what %s is for", m)
		}
	}
	for m := range why {
		if !slices.Contains(modules, m) {
			t.Errorf("docs/dependencies.md speaks of %s, which go.mod does not require", m)
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)

// Links between pages lead somewhere.
func TestLinksExist(t *testing.T) {
	links := 0
	for _, page := range sources(t, ".md") {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			}
		}
	}
	if links == 0 {
		t.Error("no page links to another")
	}
}

// Commands that pages show exist: the first word after a command's name is one
// of its subcommands.
func TestShownCommandsExist(t *testing.T) {
	known := map[string]string{}
	for _, c := range []string{"miner", "miner-worker", "miner-client", "miner-devnet"} {
		for _, path := range sources(t, ".go") {
			if strings.HasPrefix(path, filepath.Join(root, "cmd", c)+string(filepath.Separator)) && !strings.HasSuffix(path, "_test.go") {
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				known[c] += string(b)
			}
		}
	}
	shown := regexp.MustCompile("(?m)(?:^    +|`|=\\S+ )(miner(?:-worker|-client|-devnet)?)((?: --[a-z-]+ [^ \n`]+)*) " +
		"([a-z][a-z-]+)(?: ([a-z][a-z-]+))?")
	found := 0
	for _, page := range sources(t, ".md") {
		if filepath.Base(page) == "ARCHITECTURE.md" {
			continue // speaks of packages with the same names
		}
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range shown.FindAllStringSubmatch(string(b), -1) {
			found++
			if !strings.Contains(known[m[1]], `"`+m[3]+`"`) {
				t.Errorf("%s shows `%s %s`, which does not exist", page, m[1], m[3])
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d commands are shown", found)
	}
}
