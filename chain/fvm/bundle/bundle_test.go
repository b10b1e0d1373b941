package bundle

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"
)

func block(t testing.TB, codec uint64, data []byte) Block {
	t.Helper()
	c, err := cid.Prefix{Version: 1, Codec: codec, MhType: 0xb220, MhLength: 32}.Sum(data)
	if err != nil {
		t.Fatal(err)
	}
	return Block{c, data}
}

// encode writes CBOR: ints as unsigned, strings as text, lists as arrays.
func encode(t testing.TB, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	w := cbg.NewCborWriter(&b)
	var put func(v any) error
	put = func(v any) error {
		switch v := v.(type) {
		case int:
			return w.WriteMajorTypeHeader(cbg.MajUnsignedInt, uint64(v))
		case string:
			if err := w.WriteMajorTypeHeader(cbg.MajTextString, uint64(len(v))); err != nil {
				return err
			}
			_, err := w.WriteString(v)
			return err
		case cid.Cid:
			return cbg.WriteCid(w, v)
		case []any:
			if err := w.WriteMajorTypeHeader(cbg.MajArray, uint64(len(v))); err != nil {
				return err
			}
			for _, e := range v {
				if err := put(e); err != nil {
					return err
				}
			}
			return nil
		}
		return errors.New("not a value of these tests")
	}
	if err := put(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type list = []any

// car writes a CARv1.
func car(t testing.TB, roots []cid.Cid, blocks ...Block) []byte {
	t.Helper()
	var all list
	for _, r := range roots {
		all = append(all, r)
	}
	head := append([]byte{0xa2}, encode(t, "roots")...)
	head = append(head, encode(t, all)...)
	head = append(append(head, encode(t, "version")...), 1)
	out := append(binary.AppendUvarint(nil, uint64(len(head))), head...)
	for _, b := range blocks {
		out = binary.AppendUvarint(out, uint64(len(b.Cid.Bytes())+len(b.Data)))
		out = append(append(out, b.Cid.Bytes()...), b.Data...)
	}
	return out
}

// sound is an archive of two actors.
func sound(t testing.TB) (root, data Block, code [2]Block) {
	t.Helper()
	code = [2]Block{block(t, 0x55, []byte("wasm of system")), block(t, 0x55, []byte("wasm of init"))}
	data = block(t, 0x71, encode(t, list{list{"system", code[0].Cid}, list{"init", code[1].Cid}}))
	root = block(t, 0x71, encode(t, list{1, data.Cid}))
	return root, data, code
}

func TestLoad(t *testing.T) {
	root, data, code := sound(t)
	raw := car(t, []cid.Cid{root.Cid}, root, data, code[0], code[1])
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := LoadGzip(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if b.Manifest != root.Cid || b.ManifestData != data.Cid || len(b.Actors) != 2 || len(b.Blocks) != 4 || b.Actors[1].Name != "init" {
		t.Errorf("%+v", b)
	}
	c, ok := b.Code("init")
	w, has := b.Wasm(c)
	if !ok || !has || c != code[1].Cid || string(w) != "wasm of init" {
		t.Errorf("code %s (%v), module %q (%v)", c, ok, w, has)
	}
	if _, ok := b.Code("miner"); ok {
		t.Error("an actor that is not there has code")
	}
	m := b.Codes()
	delete(m, "init")
	if _, ok := b.Code("init"); !ok {
		t.Error("the map of codes is not the caller's")
	}
}

func TestLoadRefuses(t *testing.T) {
	root, data, code := sound(t)
	forged := Block{code[1].Cid, []byte("other wasm, same name")}
	twice := block(t, 0x71, encode(t, list{list{"init", code[0].Cid}, list{"init", code[1].Cid}}))
	rootOf := func(b Block) Block { return block(t, 0x71, encode(t, list{1, b.Cid})) }
	version2 := block(t, 0x71, encode(t, list{2, data.Cid}))
	none := block(t, 0x71, encode(t, list{}))
	whole := car(t, []cid.Cid{root.Cid}, root, data, code[0], code[1])
	for name, c := range map[string]struct {
		raw  []byte
		says string
	}{
		"nothing":          {nil, "actors archive"},
		"no CAR":           {[]byte("<html>not found</html>"), "actors archive"},
		"no root":          {car(t, nil, root), "archive"},
		"two roots":        {car(t, []cid.Cid{root.Cid, data.Cid}, root, data, code[0], code[1]), "2 roots"},
		"no manifest":      {car(t, []cid.Cid{root.Cid}, data, code[0], code[1]), "lacks its manifest"},
		"no data":          {car(t, []cid.Cid{root.Cid}, root, code[0], code[1]), "manifest data"},
		"no code":          {car(t, []cid.Cid{root.Cid}, root, data, code[0]), "lacks the code of init"},
		"forged code":      {car(t, []cid.Cid{root.Cid}, root, data, code[0], forged), "archive"},
		"one actor twice":  {car(t, []cid.Cid{rootOf(twice).Cid}, rootOf(twice), twice, code[0], code[1]), "names init twice"},
		"another version":  {car(t, []cid.Cid{version2.Cid}, version2, data, code[0], code[1]), "version 2"},
		"no actors":        {car(t, []cid.Cid{rootOf(none).Cid}, rootOf(none), none), "not a list of actors"},
		"cut off":          {whole[:len(whole)-3], "archive"},
		"manifest is code": {car(t, []cid.Cid{code[0].Cid}, code[0]), "manifest"},
	} {
		if _, err := Load(bytes.NewReader(c.raw)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want it to say %q", name, err, c.says)
		}
	}
	if _, err := LoadGzip(bytes.NewReader(whole)); err == nil {
		t.Error("what is not compressed was unpacked")
	}
}

func TestDecodeManifestDataBounds(t *testing.T) {
	c := block(t, 0x55, nil).Cid
	for name, v := range map[string]any{
		"too many":    list{list{"a", c}, list{"b", c}, 3},
		"a triple":    list{list{"a", c, 1}},
		"no name":     list{list{1, c}},
		"no code":     list{list{"a", "b"}},
		"a long name": list{list{strings.Repeat("x", 257), c}},
	} {
		if out, err := DecodeManifestData(encode(t, v)); err == nil {
			t.Errorf("%s: %v", name, out)
		}
	}
	var many list
	for range 65 {
		many = append(many, list{"a", c})
	}
	if _, err := DecodeManifestData(encode(t, many)); err == nil {
		t.Error("65 actors were taken")
	}
}

// The archive that is compiled in is the one named, and has what the VM needs.
func TestBuiltIn(t *testing.T) {
	b, err := Devnet()
	if err != nil {
		t.Fatal(err) // `make bundle` puts it there
	}
	for _, name := range []string{"system", "init", "account", "ethaccount", "placeholder", "cron", "reward", "storagepower",
		"storageminer", "storagemarket", "verifiedregistry", "datacap"} {
		c, ok := b.Code(name)
		if w, has := b.Wasm(c); !ok || !has || !bytes.HasPrefix(w, []byte("\x00asm")) {
			t.Errorf("%s: code %v, module %v", name, ok, has)
		}
	}
}

func FuzzLoad(f *testing.F) {
	root, data, code := sound(f)
	f.Add(car(f, []cid.Cid{root.Cid}, root, data, code[0], code[1]))
	f.Add([]byte{0x0a, 0xa1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := Load(bytes.NewReader(raw))
		if err != nil {
			return
		}
		for _, e := range b.Actors {
			if _, ok := b.Wasm(e.Code); !ok {
				t.Errorf("%s has no module", e.Name)
			}
		}
	})
}
