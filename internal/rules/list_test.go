package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// pkg is what go list tells of a package.
type pkg struct {
	ImportPath   string
	Dir          string
	Name         string
	Doc          string
	Imports      []string
	TestImports  []string
	XTestImports []string
	GoFiles      []string
}

const root = "../.."

func goTool(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out
}

var (
	packagesOnce sync.Once
	packagesList []pkg
)

// packages lists the module once for all tests.
func packages(t *testing.T) []pkg {
	t.Helper()
	packagesOnce.Do(func() {
		dec := json.NewDecoder(bytes.NewReader(goTool(t, "list",
			"-json=ImportPath,Dir,Name,Doc,Imports,TestImports,XTestImports,GoFiles", "./...")))
		for {
			var p pkg
			err := dec.Decode(&p)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			packagesList = append(packagesList, p)
		}
	})
	if len(packagesList) == 0 {
		t.Fatal("the module has no packages")
	}
	return packagesList
}

// deps lists everything a package links, itself included.
func deps(t *testing.T, path string) []string {
	t.Helper()
	return strings.Fields(string(goTool(t, "list", "-deps", path)))
}

// under tells whether path is base or below it.
func under(path, base string) bool { return path == base || strings.HasPrefix(path, base+"/") }

// sources walks the files of the repository with one of the extensions.
func sources(t *testing.T, exts ...string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "out" ||
			name == "bin" || name == "shared") {
			return filepath.SkipDir
		}
		for _, e := range exts {
			if strings.HasSuffix(path, e) {
				out = append(out, path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
