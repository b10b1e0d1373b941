package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	dir := flag.String("dir", ".", "directory of package api")
	out := flag.String("out", "proxy_gen.go", "file to write, relative to dir")
	flag.Parse()
	src, err := Generate(*dir)
	if err == nil {
		err = os.WriteFile(filepath.Join(*dir, *out), src, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "proxygen:", err)
		os.Exit(1)
	}
}
