package porep

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/fr32"
	"quarry/proofs/merkle"
)

// memFile and memFiles are a cache directory in memory.
type memFile struct{ b []byte }

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(f.b)) {
		return 0, io.EOF
	}
	n := copy(p, f.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(len(f.b)) {
		return 0, fmt.Errorf("write of %d at %d beyond the file's %d bytes", len(p), off, len(f.b))
	}
	return copy(f.b[off:], p), nil
}
func (f *memFile) Close() error         { return nil }
func (f *memFile) Sync() error          { return nil }
func (f *memFile) Size() (int64, error) { return int64(len(f.b)), nil }

type memFiles struct {
	mu sync.Mutex
	m  map[string]*memFile
}

func newMemFiles() *memFiles { return &memFiles{m: map[string]*memFile{}} }

func (m *memFiles) Create(name string, size int64) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := &memFile{make([]byte, size)}
	m.m[name] = f
	return f, nil
}

func (m *memFiles) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.m[name]; f != nil {
		return f, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func (m *memFiles) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.m, name)
	return nil
}

func (m *memFiles) List() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for n := range m.m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names, nil
}

type fileVector struct {
	SHA256 string `json:"sha256"`
	Size   int    `json:"size"`
}

type sectorVector struct {
	Name       string                `json:"name"`
	Size       uint64                `json:"sector_size"`
	API        string                `json:"api_version"`
	Features   []string              `json:"features"`
	PorepID    string                `json:"porep_id_hex"`
	CommC      string                `json:"comm_c"`
	CommD      string                `json:"comm_d"`
	CommR      string                `json:"comm_r"`
	CommRLast  string                `json:"comm_r_last"`
	ReplicaID  string                `json:"replica_id"`
	Ticket     string                `json:"ticket"`
	Seed       string                `json:"seed"`
	Sealed     string                `json:"sealed_sha256"`
	Staged     string                `json:"staged_sha256"`
	TAux       string                `json:"t_aux_with_path_cache"`
	PAux       string                `json:"p_aux"`
	After1     map[string]fileVector `json:"cache_after_p1"`
	After2     map[string]fileVector `json:"cache_after_p2"`
	AfterSynth map[string]fileVector `json:"cache_after_synth"`
	C1         fileVector            `json:"c1_bincode_inner"`
	PC1JSON    string                `json:"pc1_output_inner_json"`
	C1JSON     fileVector            `json:"c1_ffi_json"`
	Number     uint64                `json:"sector_number"`
	Challenge  [][]uint64            `json:"challenges"`
}

func sectorVectors(t testing.TB) []sectorVector {
	t.Helper()
	var v struct {
		Sectors []sectorVector `json:"sectors"`
	}
	loadJSON(t, "sectors.json", &v)
	if len(v.Sectors) != 6 {
		t.Fatalf("%d sectors in the vectors", len(v.Sectors))
	}
	return v.Sectors
}

func loadJSON(t testing.TB, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}

// vectorData is the unsealed, padded sector that the vectors were made from.
func vectorData(size uint64) []byte {
	raw := make([]byte, size/128*127)
	for i := range raw {
		raw[i] = byte(7*i+3) ^ byte(i>>8)
	}
	padded := make([]byte, size)
	fr32.Pad(raw, padded)
	return padded
}

func node(t testing.TB, s string) [32]byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 32 {
		t.Fatalf("%q is no node", s)
	}
	return [32]byte(b)
}

func (v *sectorVector) params(t testing.TB) *params {
	t.Helper()
	f := interactive
	if len(v.Features) > 0 {
		f = synthetic
	}
	id := node(t, v.PorepID)
	p, err := newParams(uint64(id[0]), v.Size/32, v.API == "1.0.0", f)
	if err != nil {
		t.Fatal(err)
	}
	return &p
}

func (v *sectorVector) sector() Sector {
	return Sector{Miner: 1000, Number: abi.SectorNumber(v.Number)}
}

// sealed is a sector sealed from a vector.
type sealedSector struct {
	par    *params
	s      Sector
	req    ProveRequest
	sealed *memFile
	cache  *memFiles
	pc1    PreCommit1Out
	data   []byte
}

// task1 is the sector before the first phase.
func (s *sealedSector) task1(ticket []byte, pieces []abi.PieceInfo) PreCommit1Task {
	return PreCommit1Task{
		Sector:   s.s,
		Ticket:   ticket,
		Pieces:   pieces,
		Unsealed: bytes.NewReader(s.data),
		Cache:    s.cache,
	}
}

// task2 is the sector before the second phase.
func (s *sealedSector) task2() *PreCommit2Task {
	return &PreCommit2Task{
		Sector:   s.s,
		PC1:      s.pc1,
		Unsealed: bytes.NewReader(s.data),
		Sealed:   s.sealed,
		Cache:    s.cache,
	}
}

// synthesize makes the synthetic proofs.
func (s *sealedSector) synthesize(ctx context.Context, p Progress) error {
	return Synthesize(ctx, s.synthetic(), p)
}

func (s *sealedSector) synthetic() SynthesizeTask {
	return SynthesizeTask{
		Sector:      s.s,
		Ticket:      s.req.Ticket,
		Commitments: s.req.Commitments,
		Sealed:      s.sealed,
		Cache:       s.cache,
	}
}

// preCommit1 is the first phase of one sector with parameters that need not be
// those of a registered proof, and pieces that come to commD.
func preCommit1(ctx context.Context, par *params, task PreCommit1Task, commD [32]byte) (PreCommit1Out, error) {
	outs, err := par.preCommit1Batch(ctx, []PreCommit1Task{task}, [][32]byte{commD}, LabelOptions{}, nil)
	if err != nil {
		return PreCommit1Out{}, err
	}
	return outs[0], nil
}

func seal(t testing.TB, v *sectorVector) *sealedSector {
	t.Helper()
	ctx, ticket, seed := context.Background(), node(t, v.Ticket), node(t, v.Seed)
	out := &sealedSector{par: v.params(t), s: v.sector(), cache: newMemFiles(), data: vectorData(v.Size)}
	out.sealed = &memFile{make([]byte, v.Size)}
	var err error
	if out.pc1, err = preCommit1(ctx, out.par, out.task1(ticket[:], nil), node(t, v.CommD)); err != nil {
		t.Fatal(err)
	}
	com, err := out.par.preCommit2(ctx, out.task2(), nil)
	if err != nil {
		t.Fatal(err)
	}
	out.req = ProveRequest{Ticket: ticket[:], Seed: seed[:], Commitments: com}
	return out
}

func (m *memFiles) check(t *testing.T, want map[string]fileVector) {
	t.Helper()
	names, err := m.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		w, ok := want[n]
		if !ok {
			t.Errorf("file %s was not expected", n)
			continue
		}
		b := m.m[n].b
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != w.SHA256 || len(b) != w.Size {
			t.Errorf("%s: %d bytes, SHA-256 %x; want %d, %s", n, len(b), sum, w.Size, w.SHA256)
		}
	}
	for n := range want {
		if m.m[n] == nil {
			t.Errorf("file %s is missing", n)
		}
	}
}

// Every byte of every file of whole seals equals the reference's.
func TestSealVectors(t *testing.T) {
	for _, v := range sectorVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			if v.Size > 1<<20 && testing.Short() {
				t.Skip("seals 8 MiB")
			}
			s := seal(t, &v)
			s.cache.check(t, v.After2)
			for _, x := range []struct {
				what, want string
				got        [32]byte
			}{
				{"replica id", v.ReplicaID, s.pc1.ReplicaID}, {"CommD", v.CommD, s.req.CommD}, {"CommC", v.CommC, s.req.CommC},
				{"CommRLast", v.CommRLast, s.req.CommRLast}, {"CommR", v.CommR, s.req.CommR},
				{"staged data", v.Staged, sha256.Sum256(s.data)}, {"sealed data", v.Sealed, sha256.Sum256(s.sealed.b)},
			} {
				if hex.EncodeToString(x.got[:]) != x.want {
					t.Errorf("%s is %x, want %s", x.what, x.got, x.want)
				}
			}
			if got := hex.EncodeToString(s.cache.m["t_aux"].b); got != v.TAux {
				t.Errorf("t_aux %s want %s", got, v.TAux)
			}
			s.checkProof(t, &v)
			s.checkUnseal(t)
		})
	}
}

func (s *sealedSector) checkProof(t *testing.T, v *sectorVector) {
	t.Helper()
	if got := s.par.challenges(s.pc1.ReplicaID, s.req.CommR, [32]byte(s.req.Seed), 0); !slices.Equal(got, v.Challenge[0]) {
		t.Errorf("challenges %v want %v", got, v.Challenge[0])
	}
	blob, err := s.par.prove(context.Background(), s.s, &s.req, s.sealed, s.cache)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(blob); hex.EncodeToString(sum[:]) != v.C1.SHA256 || len(blob) != v.C1.Size {
		t.Errorf("proof of %d bytes, SHA-256 %x; want %d, %s", len(blob), sum, v.C1.Size, v.C1.SHA256)
	}
	if len(blob) != s.par.blobSize() {
		t.Errorf("%d bytes, %d foretold", len(blob), s.par.blobSize())
	}
}

func (s *sealedSector) checkUnseal(t *testing.T) {
	t.Helper()
	n := uint64(len(s.data))
	ranges := [][2]uint64{{0, n}, {128, 256}, {n - 128, 128}, {n, 0}}
	if n > 1<<20 {
		ranges = ranges[:1] // each costs all the labels
	}
	for _, r := range ranges {
		var out bytes.Buffer
		j := unsealing{
			par:    s.par,
			id:     s.par.replicaID(s.s, [32]byte(s.req.Ticket), s.req.CommD),
			commD:  s.req.CommD,
			sealed: s.sealed,
			out:    &out,
			offset: r[0],
			size:   r[1],
		}
		if err := j.run(context.Background(), nil, LabelOptions{}, nil); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), s.data[r[0]:r[0]+r[1]]) {
			t.Errorf("range %v does not come back", r)
		}
	}
}

// sealedOf is a sector of any size that has a tree shape, sealed with version
// 1.1 graphs.
func sealedOf(t testing.TB, nodes uint64, f feature) *sealedSector {
	t.Helper()
	ctx := context.Background()
	id := map[feature]uint64{interactive: firstV1_1, synthetic: firstSynthetic, nonInteractive: firstNI}[f]
	par, err := newParams(id, nodes, false, f)
	if err != nil {
		t.Fatal(err)
	}
	out := &sealedSector{par: &par, s: Sector{Miner: 1000, Number: 42}, cache: newMemFiles(), data: vectorData(nodes * 32)}
	out.sealed = &memFile{make([]byte, nodes*32)}
	commD, err := merkle.BuildBinary(ctx, nodes, bytes.NewReader(out.data), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ticket, seed := bytes.Repeat([]byte{0x11}, 32), bytes.Repeat([]byte{0x22}, 32)
	if out.pc1, err = preCommit1(ctx, out.par, out.task1(ticket, nil), commD); err != nil {
		t.Fatal(err)
	}
	com, err := par.preCommit2(ctx, out.task2(), nil)
	if err != nil {
		t.Fatal(err)
	}
	out.req = ProveRequest{Ticket: ticket, Seed: seed, Commitments: com}
	return out
}
