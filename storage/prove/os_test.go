package prove

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"quarry/api"
	"quarry/proofs/porep"
	"quarry/storage/paths"
)

var stamp = time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)

// real lays a copy of the sector on a real path.
func real(t *testing.T, dir string) paths.Path {
	t.Helper()
	if err := paths.InitDir(dir, api.PathMeta{ID: "a", Weight: 1, CanStore: true}); err != nil {
		t.Fatal(err)
	}
	at := paths.Path{Meta: api.PathMeta{ID: "a"}, Dir: dir}
	cache := at.FilePath(id(1), api.FileCache)
	if err := os.MkdirAll(cache, 0o750); err != nil {
		t.Fatal(err)
	}
	err := os.MkdirAll(filepath.Dir(at.FilePath(id(1), api.FileSealed)), 0o750)
	if err == nil {
		err = os.WriteFile(at.FilePath(id(1), api.FileSealed), sealed().Sealed.Bytes, 0o600)
	}
	names, err2 := sealed().Cache.List()
	if err = errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if err := os.WriteFile(filepath.Join(cache, n), sealed().Cache.File(n).Bytes, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return at
}

type onePath struct {
	*disks
	at paths.Path
}

func (o onePath) Paths() []paths.Path { return []paths.Path{o.at} }

// A FIFO that nobody writes to hangs as a dead mount does, in open(2) itself; the
// sector is proven once it is away and the file in its place.
func TestAFileThatHangsInTheKernel(t *testing.T) {
	at := real(t, t.TempDir())
	p, err := New(Config{SectorLimit: 50 * time.Millisecond}, Deps{Index: newDisks(), Local: onePath{newDisks(), at}})
	if err != nil {
		t.Fatal(err)
	}
	aux := filepath.Join(at.FilePath(id(1), api.FileCache), "p_aux")
	if err := errors.Join(os.Remove(aux), syscall.Mkfifo(aux, 0o600)); err != nil {
		t.Fatal(err)
	}
	want(t, faultOf(t, p), api.FaultHung, "a", at.Dir)
	f, err := os.OpenFile(aux, os.O_WRONLY, 0) // lets the reader go on, to the end of nothing
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), os.Remove(aux), os.WriteFile(aux, sealed().Cache.File("p_aux").Bytes, 0o600)); err != nil {
		t.Fatal(err)
	}
	for p.deps.Breaker.Hung(at.Dir) != nil {
		time.Sleep(time.Millisecond)
	}
	res, _ := window(t, p, api.WindowPoStRequest{Sectors: infos(1, 2)})
	if len(res.Skipped) != 0 {
		t.Fatal(res.Skipped)
	}
	verify(t, infos(1, 2), res.Vanilla)
}

func TestCheckCopyOfRealFiles(t *testing.T) {
	at := real(t, t.TempDir())
	c := Copy{
		Sector:    id(1),
		SealProof: seal,
		SealedCID: sealed().Info().SealedCID,
		Replica:   at.FilePath(id(1), api.FileSealed),
		Cache:     at.FilePath(id(1), api.FileCache),
	}
	if err := CheckCopy(t.Context(), nil, c); err != nil {
		t.Error(err)
	}
	if err := os.Truncate(c.Replica, 2047); err != nil {
		t.Fatal(err)
	}
	if err := CheckCopy(t.Context(), OS{}, c); err == nil {
		t.Error("a replica one byte short is whole")
	}
	var files FS = OS{}
	if f := files.Cache(c.Cache); f == nil {
		t.Error("no cache")
	} else if _, err := f.(porep.Files).List(); err != nil {
		t.Error(err)
	}
}
