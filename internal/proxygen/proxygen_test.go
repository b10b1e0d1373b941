package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNotStale(t *testing.T) {
	want, err := Generate("../../api")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../api/proxy_gen.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("api/proxy_gen.go is stale: run go generate ./api")
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct{ method, want string }{
		"no perm":         {"A(ctx context.Context) error", "no //perm:"},
		"no context":      {"A(x int) error //perm:read", "not a context"},
		"no error":        {"A(ctx context.Context) int //perm:read", "not an error"},
		"too many values": {"A(ctx context.Context) (int, int, error) //perm:read", "not understood"},
		"unnamed":         {"A(context.Context) error //perm:read", "unnamed"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			src := "package api\nimport \"context\"\ntype Chain interface {\n" + c.method + "\n}\n"
			if err := os.WriteFile(filepath.Join(dir, "x.go"), []byte(src), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Generate(dir); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}
