package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"github.com/klauspost/compress/zstd"

	"quarry/chain/fvm/bundle"
)

const source = "github.com/filecoin-project/lotus@v1.36.2"

// archive is one CAR to extract.
type archive struct {
	tar, car, manifest, out string
}

var archives = []archive{
	{"v18.tar.zst", "builtin-actors-devnet.car", bundle.DevnetManifest, "chain/fvm/bundle/data/" + bundle.DevnetFile},
	// Message vectors of network version 18 run on these.
	{"v10.tar.zst", "builtin-actors-mainnet.car", "bafy2bzacecsuyf7mmvrhkx2evng5gnz5canlnz2fdlzu2lvcgptiq2pzuovos",
		"chain/fvm/testdata/v10-mainnet.car.gz"},
}

func main() {
	root := flag.String("root", ".", "top folder of the source tree")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	if err := run(ctx, *root); err != nil {
		fmt.Fprintln(os.Stderr, "bundle:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, root string) error {
	var missing []archive
	for _, a := range archives {
		if err := check(filepath.Join(root, a.out), a.manifest); err != nil {
			missing = append(missing, a)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	dir, err := download(ctx)
	if err != nil {
		return err
	}
	for _, a := range missing {
		if err := extract(dir, root, a); err != nil {
			return fmt.Errorf("%s from %s: %w", a.car, a.tar, err)
		}
		fmt.Println("wrote", a.out)
	}
	return nil
}

func check(path, manifest string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return verify(bundle.LoadGzip(f))(manifest)
}

func verify(b *bundle.Bundle, err error) func(string) error {
	return func(manifest string) error {
		if err != nil {
			return err
		}
		if b.Manifest.String() != manifest {
			return fmt.Errorf("manifest is %s, want %s", b.Manifest, manifest)
		}
		return nil
	}
}

// download fetches the module with a go.mod of its own, so that lotus and its
// requirements never enter this module's build list.
func download(ctx context.Context) (string, error) {
	tmp, err := os.MkdirTemp("", "bundle")
	if err != nil {
		return "", fmt.Errorf("temporary folder: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := os.WriteFile(filepath.Join(tmp, "go.mod"), []byte("module bundle\n\ngo 1.25\n"), 0o600); err != nil {
		return "", fmt.Errorf("temporary module: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", source)
	cmd.Dir = tmp
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	var info struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &info); err == nil {
		err = jsonErr
	}
	if err != nil {
		return "", fmt.Errorf("download %s: %w: %s%s", source, err, info.Error, errOut.String())
	}
	return filepath.Join(info.Dir, "build", "actors"), nil
}

func extract(dir, root string, a archive) error {
	f, err := os.Open(filepath.Join(dir, a.tar))
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		return err
	}
	defer z.Close()
	car, err := find(tar.NewReader(z), a.car)
	if err != nil {
		return err
	}
	if err := verify(bundle.Load(bytes.NewReader(car)))(a.manifest); err != nil {
		return err
	}
	return write(filepath.Join(root, a.out), car)
}

func find(t *tar.Reader, name string) ([]byte, error) {
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("not in the archive")
		}
		if err != nil {
			return nil, err
		}
		if filepath.Base(h.Name) == name {
			return io.ReadAll(io.LimitReader(t, 64<<20))
		}
	}
}

func write(path string, car []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(car); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return renameio.WriteFile(path, buf.Bytes(), 0o644)
}
