package bundle

import (
	"bytes"
	"compress/gzip"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/ipfs/go-cid"
	carv2 "github.com/ipld/go-car/v2"
	cbg "github.com/whyrusleeping/cbor-gen"
)

//go:embed data
var data embed.FS

// ErrNotBuiltIn says that this program was compiled without the archive.
var ErrNotBuiltIn = errors.New("actors bundle is not built in: run `make bundle` and build again")

// DevnetFile is the archive of the v18 devnet flavour inside data/.
const DevnetFile = "v18-devnet.car.gz"

// DevnetManifest is the manifest of the v18.0.0 devnet flavour (lotus
// build/builtin_actors_gen.go).
const DevnetManifest = "bafy2bzaced35gjxagazf2fne5dakbok5abmivsh7cq7huwfuptebgwjmcpcf6"

// maxCAR bounds the unpacked archive, in bytes; official ones are 8 to 15 MB.
const maxCAR = 64 << 20

// Block is one block of the archive.
type Block struct {
	Cid  cid.Cid
	Data []byte
}

// Entry names one actor.
type Entry struct {
	Name string
	Code cid.Cid
}

// Bundle is a verified set of actors.
type Bundle struct {
	Manifest     cid.Cid // root: [version, data CID]
	ManifestData cid.Cid // [[name, code], ...], as the system actor's state names it
	Actors       []Entry // in manifest order: type number = index + 1
	Blocks       []Block // all blocks, to be put into a state store
	code         map[string]cid.Cid
	wasm         map[cid.Cid][]byte
}

// Devnet loads the archive that is compiled in.
func Devnet() (*Bundle, error) {
	f, err := data.ReadFile("data/" + DevnetFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotBuiltIn
	}
	if err != nil {
		return nil, fmt.Errorf("read built-in actors: %w", err)
	}
	b, err := LoadGzip(bytes.NewReader(f))
	if err != nil {
		return nil, fmt.Errorf("built-in actors: %w", err)
	}
	if b.Manifest.String() != DevnetManifest {
		return nil, fmt.Errorf("built-in actors have manifest %s, want %s: run `make bundle` again", b.Manifest, DevnetManifest)
	}
	return b, nil
}

// LoadGzip reads a gzip-compressed CARv1 of at most 64 MiB.
func LoadGzip(r io.Reader) (*Bundle, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("unpack actors archive: %w", err)
	}
	defer z.Close()
	return Load(io.LimitReader(z, maxCAR))
}

// Load reads a CARv1 with one root and checks every block and the manifest.
func Load(r io.Reader) (*Bundle, error) {
	br, err := carv2.NewBlockReader(r)
	if err != nil {
		return nil, fmt.Errorf("read actors archive: %w", err)
	}
	if len(br.Roots) != 1 {
		return nil, fmt.Errorf("actors archive has %d roots, want 1", len(br.Roots))
	}
	b := &Bundle{Manifest: br.Roots[0], code: make(map[string]cid.Cid), wasm: make(map[cid.Cid][]byte)}
	byCid := make(map[cid.Cid][]byte)
	for {
		blk, err := br.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read actors archive: %w", err)
		}
		got, err := blk.Cid().Prefix().Sum(blk.RawData())
		if err != nil || !got.Equals(blk.Cid()) {
			return nil, fmt.Errorf("actors archive: block %s does not match its CID", blk.Cid())
		}
		byCid[blk.Cid()] = blk.RawData()
		b.Blocks = append(b.Blocks, Block{blk.Cid(), blk.RawData()})
	}
	return b, b.index(byCid)
}

func (b *Bundle) index(blocks map[cid.Cid][]byte) error {
	root, ok := blocks[b.Manifest]
	if !ok {
		return fmt.Errorf("actors archive lacks its manifest %s", b.Manifest)
	}
	var err error
	if b.ManifestData, err = DecodeManifest(root); err != nil {
		return fmt.Errorf("actors manifest: %w", err)
	}
	if b.Actors, err = DecodeManifestData(blocks[b.ManifestData]); err != nil {
		return fmt.Errorf("actors manifest data %s: %w", b.ManifestData, err)
	}
	for _, e := range b.Actors {
		w, ok := blocks[e.Code]
		if !ok {
			return fmt.Errorf("actors archive lacks the code of %s (%s)", e.Name, e.Code)
		}
		if _, dup := b.code[e.Name]; dup {
			return fmt.Errorf("actors manifest names %s twice", e.Name)
		}
		b.code[e.Name], b.wasm[e.Code] = e.Code, w
	}
	return nil
}

// Code is the code CID of an actor by manifest name, such as "storageminer".
func (b *Bundle) Code(name string) (cid.Cid, bool) { c, ok := b.code[name]; return c, ok }

// Codes maps actor names to code CIDs; the map is the caller's.
func (b *Bundle) Codes() map[string]cid.Cid {
	m := make(map[string]cid.Cid, len(b.code))
	for k, v := range b.code {
		m[k] = v
	}
	return m
}

// Wasm is the module of a code CID.
func (b *Bundle) Wasm(code cid.Cid) ([]byte, bool) { w, ok := b.wasm[code]; return w, ok }

// DecodeManifest reads [1, data CID].
func DecodeManifest(b []byte) (cid.Cid, error) {
	r := cbg.NewCborReader(bytes.NewReader(b))
	if maj, n, err := r.ReadHeader(); err != nil || maj != cbg.MajArray || n != 2 {
		return cid.Undef, errors.New("not a pair")
	}
	if maj, v, err := r.ReadHeader(); err != nil || maj != cbg.MajUnsignedInt || v != 1 {
		return cid.Undef, fmt.Errorf("manifest version %d is not supported", v)
	}
	return cbg.ReadCid(r)
}

// DecodeManifestData reads [[name, code CID], ...]; at most 64 actors.
func DecodeManifestData(b []byte) ([]Entry, error) {
	r := cbg.NewCborReader(bytes.NewReader(b))
	maj, n, err := r.ReadHeader()
	if err != nil || maj != cbg.MajArray || n == 0 || n > 64 {
		return nil, errors.New("not a list of actors")
	}
	out := make([]Entry, n)
	for i := range out {
		if maj, two, err := r.ReadHeader(); err != nil || maj != cbg.MajArray || two != 2 {
			return nil, fmt.Errorf("entry %d is not a pair", i)
		}
		if out[i].Name, err = cbg.ReadStringWithMax(r, 256); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
		if out[i].Code, err = cbg.ReadCid(r); err != nil {
			return nil, fmt.Errorf("entry %d (%s): %w", i, out[i].Name, err)
		}
	}
	return out, nil
}
