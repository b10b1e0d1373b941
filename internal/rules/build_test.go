package rules

import (
	"debug/elf"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestNoCgo builds every command without cgo and looks for the marks of a
// binary that needs a C library at run time all the same.
func TestNoCgo(t *testing.T) {
	dir := t.TempDir()
	goTool(t, "build", "-o", dir+string(filepath.Separator), "./cmd/...")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	for _, p := range packages(t) {
		if strings.HasPrefix(p.ImportPath, "quarry/cmd/") && p.Name == "main" {
			commands++
		}
	}
	if len(entries) != commands || commands == 0 {
		t.Fatalf("built %d of %d commands", len(entries), commands)
	}
	if runtime.GOOS != "linux" {
		return // the marks below are those of ELF
	}
	for _, e := range entries {
		static(t, filepath.Join(dir, e.Name()))
	}
}

func static(t *testing.T, path string) {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Errorf("%s is linked dynamically", filepath.Base(path))
		}
	}
	if libs, _ := f.ImportedLibraries(); len(libs) > 0 {
		t.Errorf("%s needs %v", filepath.Base(path), libs)
	}
}
