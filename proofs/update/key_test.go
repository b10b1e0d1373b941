package update

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/fr32"
	"quarry/proofs/merkle"
	"quarry/proofs/porep"
	"quarry/proofs/porep/poreptest"
	"quarry/proofs/poseidon"
	"quarry/proofs/sdr"
)

// The key made of the updated replica and the data is the old replica, with the
// old cache, byte for byte; what is proved with it verifies.
func TestRegenerateKey(t *testing.T) {
	ctx, u := context.Background(), update(t, 0)
	key, cache := poreptest.NewFile(2048), poreptest.NewFiles()
	var last [2]int64
	progress := func(stage string, done, _ int64) {
		last[map[string]int{porep.StageTreeD: 0, porep.StageTreeR: 1}[stage]] = done
	}
	err := RegenerateKey(ctx, 0, u.keyTask(key, cache), progress)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(key.Bytes, u.old.Sealed.Bytes) {
		t.Error("the key is not the old replica")
	}
	for _, name := range []string{"p_aux", "t_aux", "sc-02-data-tree-r-last.dat"} {
		if got := cache.File(name); got == nil || !bytes.Equal(got.Bytes, u.old.Cache.File(name).Bytes) {
			t.Errorf("%s is not as it was", name)
		}
	}
	if last != [2]int64{64, 64} {
		t.Errorf("progress ends at %v", last)
	}
	blob, err := Prove(ctx, 0, u.com, Replica{Sealed: key, Cache: cache}, u.newReplica())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(blob, u.prove(t)) {
		t.Error("another proof than with the old replica")
	}
}

// Wrong inputs are refused, those that can be seen beforehand without a byte
// written.
func TestRegenerateKeyRefuses(t *testing.T) {
	ctx, u := context.Background(), update(t, 0)
	other := bytes.Clone(u.data)
	other[0] ^= 1
	damaged := poreptest.NewFile(2048)
	copy(damaged.Bytes, u.sealed.Bytes)
	damaged.Bytes[100] ^= 1
	key, cache := poreptest.NewFile(2048), poreptest.NewFiles()
	for _, x := range []struct {
		what    string
		updated Replica
		data    []byte
		key     porep.File
		cache   porep.Files
		want    error
	}{
		{"other data", u.newReplica(), other, key, cache, porep.ErrPieces},
		{"short data", u.newReplica(), u.data[:1024], key, cache, ErrFiles},
		{"short replica", Replica{poreptest.NewFile(1024), u.cache}, u.data, key, cache, ErrFiles},
		{"key is the replica", u.newReplica(), u.data, u.sealed, cache, ErrFiles},
		{"one cache", u.newReplica(), u.data, key, u.cache, ErrFiles},
		{"no key", u.newReplica(), u.data, nil, cache, ErrFiles},
		{"damaged replica", Replica{damaged, u.cache}, u.data, key, cache, ErrKey},
	} {
		before := bytes.Clone(u.sealed.Bytes)
		task := u.keyTask(x.key, x.cache)
		task.Updated, task.Data = x.updated, bytes.NewReader(x.data)
		err := RegenerateKey(ctx, 0, task, nil)
		if !errors.Is(err, x.want) {
			t.Errorf("%s: %v", x.what, err)
		}
		names, err := cache.List()
		written := len(names) > 0 || !bytes.Equal(key.Bytes, make([]byte, 2048))
		if err != nil || written != (x.want == ErrKey) || !bytes.Equal(before, u.sealed.Bytes) {
			t.Errorf("%s: files were written: %v", x.what, names)
		}
	}
	task := u.keyTask(key, cache)
	task.CommROld = u.com.SealedCID()
	if err := RegenerateKey(ctx, 0, task, nil); !errors.Is(err, ErrKey) {
		t.Errorf("the new CommR in place of the old: %v", err)
	}
	task.CommROld, task.CommDNew = u.com.UnsealedCID(), u.com.SealedCID()
	if err := RegenerateKey(ctx, 0, task, nil); !errors.Is(err, errCID) {
		t.Errorf("swapped CIDs: %v", err)
	}
	if err := RegenerateKey(ctx, 9, u.keyTask(key, cache), nil); err == nil {
		t.Error("update proof 9 accepted")
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := RegenerateKey(gone, 0, u.keyTask(key, cache), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Encode refuses the same, and never touches the old sector.
func TestEncodeRefusesFiles(t *testing.T) {
	ctx, u := context.Background(), update(t, 0)
	replica, aux := bytes.Clone(u.old.Sealed.Bytes), bytes.Clone(u.old.Cache.File("p_aux").Bytes)
	for name, err := range map[string]error{
		"replica over itself": u.encode(ctx, u.oldReplica(), bytes.NewReader(u.data), u.old.Sealed, u.cache),
		"cache over itself":   u.encode(ctx, u.oldReplica(), bytes.NewReader(u.data), u.sealed, u.old.Cache),
		"data over itself":    u.encode(ctx, u.oldReplica(), u.sealed, u.sealed, u.cache),
		"replica as data":     u.encode(ctx, u.oldReplica(), u.old.Sealed, u.sealed, u.cache),
		"short data":          u.encode(ctx, u.oldReplica(), bytes.NewReader(u.data[1:]), u.sealed, u.cache),
		"long replica":        u.encode(ctx, Replica{poreptest.NewFile(4096), u.old.Cache}, bytes.NewReader(u.data), u.sealed, u.cache),
		"nothing":             u.encode(ctx, Replica{}, nil, nil, nil),
	} {
		if !errors.Is(err, ErrFiles) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !bytes.Equal(replica, u.old.Sealed.Bytes) || !bytes.Equal(aux, u.old.Cache.File("p_aux").Bytes) {
		t.Error("the old sector was touched")
	}
}

func (u *updated) encode(ctx context.Context, old Replica, data interface {
	ReadAt([]byte, int64) (int, error)
}, sealed porep.File, cache porep.Files) error {
	_, err := u.par.encode(ctx, u.com.CommDNew, &EncodeTask{Old: old, Data: data, Sealed: sealed, Cache: cache}, nil)
	return err
}

// Two handles on one path are one file.
func TestSameFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(path string) *os.File {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	a, b := open(path), open(path)
	if !same(a, a) || !same(a, b) || same(a, bytes.NewReader(nil)) || same(bytes.NewReader(nil), bytes.NewReader(nil)) {
		t.Error("files are told apart wrongly")
	}
}

func TestMemory(t *testing.T) {
	for p, top := range map[abi.RegisteredUpdateProof]uint64{0: 12 << 20, 3: 96 << 20, 4: 96 << 20} {
		if got, err := Memory(p, 16); err != nil || got > top || p > 0 && got < 32<<20 {
			t.Errorf("update proof %d: %d bytes (%v)", p, got, err)
		}
	}
	if got, err := ProveMemory(3); err != nil || got < 10<<20 || got > 100<<20 {
		t.Errorf("proving 32 GiB: %d bytes (%v)", got, err)
	}
	_, err1 := Memory(9, 1)
	_, err2 := ProveMemory(9)
	if err1 == nil || err2 == nil {
		t.Error("update proof 9 accepted")
	}
}

// smallVector is a vector sector of a size that no registered proof has.
type smallVector struct {
	Name      string      `json:"name"`
	Size      uint64      `json:"sector_size"`
	PorepID   string      `json:"porep_id_hex"`
	CommC     string      `json:"comm_c"`
	CommR     string      `json:"comm_r"`
	ReplicaID string      `json:"replica_id"`
	TAux      string      `json:"t_aux_with_path_cache"`
	Snap      *snapVector `json:"snap"`
}

// seal makes the replica of a small vector sector label by label.
func (v *smallVector) seal(t *testing.T, par *params) (*poreptest.File, *poreptest.Files, []byte) {
	t.Helper()
	ctx, n := context.Background(), v.Size/32
	g, err := sdr.NewGraph(node(t, v.PorepID), n, false)
	if err != nil {
		t.Fatal(err)
	}
	id := node(t, v.ReplicaID)
	layers := [2][][32]byte{make([][32]byte, n), make([][32]byte, n)}
	for layer := 1; layer <= 2; layer++ {
		for i := range n {
			layers[layer-1][i] = label(g, id, &layers, layer, i)
		}
	}
	data := make([]byte, v.Size)
	fr32.Pad(poreptest.VectorData(v.Size), data)
	sealed, cache := poreptest.NewFile(int64(v.Size)), poreptest.NewFiles()
	for i := range n {
		k, err1 := poseidon.Decode(&layers[1][i])
		d, err2 := poseidon.Decode((*[32]byte)(data[i*32:]))
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		enc := poseidon.Encode(*k.Add(&k, &d))
		copy(sealed.Bytes[i*32:], enc[:])
	}
	last, err := porep.WriteTreeR(ctx, par.shape, func(_ context.Context, start uint64, dst []poseidon.Element) error {
		return read(sealed, dst, make([]byte, len(dst)*32), start)
	}, cache, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	commC := node(t, v.CommC)
	if got, err := merkle.HashNodes(commC, last); err != nil || got != node(t, v.CommR) {
		t.Fatalf("CommR is %x, want %s (%v)", got, v.CommR, err)
	}
	aux, err := hex.DecodeString(v.TAux)
	if err != nil {
		t.Fatal(err)
	}
	put(t, cache, "t_aux", aux)
	put(t, cache, "p_aux", append(commC[:], last[:]...))
	return sealed, cache, data
}

func label(g *sdr.Graph, id [32]byte, layers *[2][][32]byte, layer int, i uint64) [32]byte {
	if i == 0 {
		return sdr.Label(id, layer, 0, nil)
	}
	base, exp := g.Parents(i)
	var b [sdr.BaseDegree][32]byte
	var e [sdr.ExpDegree][32]byte
	for j, p := range base {
		b[j] = layers[layer-1][p]
	}
	for j, p := range exp {
		if layer > 1 {
			e[j] = layers[layer-2][p]
		}
	}
	parents := sdr.RepeatParents(layer, &b, &e)
	return sdr.Label(id, layer, i, &parents)
}

func put(t *testing.T, cache *poreptest.Files, name string, b []byte) {
	t.Helper()
	f, err := cache.Create(name, int64(len(b)))
	if err == nil {
		_, err = f.WriteAt(b, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func node(t *testing.T, s string) (n [32]byte) {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 32 {
		t.Fatalf("%q is no node", s)
	}
	return [32]byte(b)
}

// The trees with sub and top levels: encoding, proof, decoding and key.
func TestSmallVectors(t *testing.T) {
	ctx := context.Background()
	var v struct {
		Sectors []smallVector `json:"sectors"`
	}
	loadJSON(t, "../porep/testdata/sectors.json", &v)
	checked := 0
	for _, s := range v.Sectors {
		if s.Name != "4KiB-id5" && s.Name != "32KiB-id5" {
			continue
		}
		checked++
		par, err := newParams(s.Size / 32)
		if err != nil {
			t.Fatal(err)
		}
		old, oldCache, data := s.seal(t, &par)
		fresh := poreptest.VectorData(s.Size)
		for i := range fresh {
			fresh[i] ^= 0x5a
		}
		fr32.Pad(fresh, data)
		sealed, cache := poreptest.NewFile(int64(s.Size)), poreptest.NewFiles()
		com, err := par.encode(ctx, node(t, s.Snap.CommD), &EncodeTask{Old: Replica{old, oldCache}, Data: bytes.NewReader(data),
			Sealed: sealed, Cache: cache}, nil)
		if err != nil {
			t.Fatal(err)
		}
		parts, err := par.prove(ctx, com, Replica{old, oldCache}, Replica{sealed, cache})
		if err != nil {
			t.Fatal(err)
		}
		if err := par.check(ctx, parts, com.CommROld, com.CommRNew, com.CommDNew); err != nil {
			t.Error(err)
		}
		s.Snap.check(t, &par, com, sealed.Bytes, cache, par.marshal(parts))
		key, keyCache := poreptest.NewFile(int64(s.Size)), poreptest.NewFiles()
		if err := par.regenerate(ctx, com.CommROld, com.CommDNew,
			&KeyTask{Updated: Replica{sealed, cache}, Data: bytes.NewReader(data), Key: key, Cache: keyCache}, nil); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(key.Bytes, old.Bytes) {
			t.Errorf("%s: the key is not the old replica", s.Name)
		}
	}
	if checked != 2 {
		t.Errorf("%d sectors checked", checked)
	}
}

// boxed is a reader of a type that can be compared, with content that cannot.
type boxed struct {
	io.ReaderAt
	extra any
}

// Files are told apart without a panic, whatever they are.
func TestSame(t *testing.T) {
	f, g := poreptest.NewFile(1), poreptest.NewFile(1)
	odd := boxed{f, []int{1}}
	for i, x := range []struct {
		a, b any
		want bool
	}{{f, f, true}, {f, g, false}, {f, odd, false}, {odd, odd, false}, {boxed{f, 1}, boxed{f, 1}, true}, {boxed{f, 1}, odd, false},
		{nil, nil, false}} {
		if got := same(x.a, x.b); got != x.want {
			t.Errorf("pair %d: %v", i, got)
		}
	}
}
