package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// held is a package, with what is below it, and the bounds its tests must reach,
// in percent.
type held struct {
	Dir      string  // from the root of the module
	Efficacy float64 // of the changes that tests run through, those that they notice
	Coverage float64 // of all changes, those that tests run through
}

// packages are those that hold money or data.
var packages = []held{
	{"mining/guard", 90, 90},
	{"mining/blocks", 90, 90},
	{"mining/window", 90, 90},
	{"storage/blobs", 90, 90},
	{"storage/index", 90, 90},
	{"storage/paths", 90, 90},
	{"storage/prove", 90, 90},
	{"storage/sched", 90, 90},
	{"storage/worker", 90, 90},
	{"chain/msgs", 90, 90},
	{"markets/deals", 90, 90},
	{"markets/publish", 90, 90},
	{"markets/transfer", 90, 90},
	{"internal/breaker", 90, 90},
	{"internal/httpx", 90, 90},
}

// choose gives the packages to try: all, or the one that is named. One that is
// not there is an error: a package that is moved must not escape its bounds.
func choose(root, name string, list []held) ([]held, error) {
	if name != "" {
		dir := filepath.ToSlash(filepath.Clean(strings.TrimSuffix(name, "/...")))
		i := slices.IndexFunc(list, func(h held) bool { return h.Dir == dir })
		if i < 0 {
			return nil, fmt.Errorf("%s is not in the list of internal/mutate/list.go; choose one of %s, or put it there", name, names(list))
		}
		list = list[i : i+1]
	}
	var missing []held
	for _, h := range list {
		if files, err := filepath.Glob(filepath.Join(root, h.Dir, "*.go")); err != nil || len(files) == 0 {
			missing = append(missing, h)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("no Go files in %s: if the code has moved, move its line in internal/mutate/list.go with it", names(missing))
	}
	return list, nil
}

func names(list []held) string {
	var out []string
	for _, h := range list {
		out = append(out, h.Dir)
	}
	return strings.Join(out, ", ")
}

// built are directories at the root that hold what was made from the sources.
var built = []string{".git", "bin", "out", "demo-run", "shared"}

// copySources copies the module without what was built, so that the tool, which
// copies all it finds, does not carry the sectors of a demo along.
func copySources(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return fmt.Errorf("copy the sources: %w", err)
	}
	for _, e := range entries {
		src, dst := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		switch {
		case slices.Contains(built, e.Name()):
			continue
		case e.IsDir():
			err = os.CopyFS(dst, os.DirFS(src))
		case e.Type().IsRegular():
			err = copyFile(src, dst)
		}
		if err != nil {
			return fmt.Errorf("copy the sources: %w", err)
		}
	}
	return nil
}

func copyFile(src, dst string) error {
	b, err := os.ReadFile(src)
	if err != nil {
		return err
	}
	return os.WriteFile(dst, b, 0o600)
}
