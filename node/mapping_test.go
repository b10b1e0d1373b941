package node

import (
	"encoding"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/big"

	"quarry/node/config"
	"quarry/node/repo"
)

// validTexts are other valid values for the keys that hold text.
var validTexts = map[string]string{
	"API.ListenAddress":                 "127.0.0.1:7",
	"API.RemoteListenAddress":           "example.net:7",
	"Subsystems.SealerApiInfo":          "t.o.k:/ip4/127.0.0.1/tcp/7/http",
	"Subsystems.SectorIndexApiInfo":     "t.o.k:/ip4/127.0.0.1/tcp/7/http",
	"Link.MarketsApiInfo":               "t.o.k:/ip4/127.0.0.1/tcp/7/http",
	"Libp2p.ListenAddresses":            "/ip4/127.0.0.1/tcp/7",
	"Libp2p.AnnounceAddresses":          "/ip4/127.0.0.1/tcp/7",
	"Dealmaking.PieceCidBlocklist":      "baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq",
	"Dealmaking.RetrievalListenAddress": "127.0.0.1:7",
	"Addresses.DealPublishControl":      "f0100",
	"Proving.Form":                      "groth16",
	"Proving.ParameterDir":              "/var/parameters",
	"Storage.ParentCacheDir":            "/var/parents",
}

// change gives v another value that Validate accepts.
func change(t *testing.T, key string, v reflect.Value) {
	t.Helper()
	if fil, ok := v.Addr().Interface().(*config.FIL); ok {
		if err := fil.UnmarshalText([]byte("1.5 FIL")); err != nil {
			t.Fatal(err)
		}
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Uint64:
		if v.Uint() > 1 { // down, because several have their upper bound as default
			v.SetUint(v.Uint() - 1)
		} else {
			v.SetUint(v.Uint() + 1)
		}
	case reflect.String, reflect.Slice:
		text, ok := validTexts[key]
		if !ok {
			t.Fatalf("%s: give this new key a value in validTexts", key)
		}
		if v.Kind() == reflect.String {
			v.SetString(text)
		} else {
			v.Set(reflect.ValueOf([]string{text}))
		}
	default:
		t.Fatalf("%s: a key of kind %s is new; teach this test to change it", key, v.Kind())
	}
}

type leaf struct {
	key   string
	index []int
}

// leavesOf lists the keys of a section or table, those of tables within it too.
func leavesOf(typ reflect.Type) (out []leaf) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		_, text := reflect.New(f.Type).Interface().(encoding.TextUnmarshaler)
		if f.Type.Kind() != reflect.Struct || text {
			out = append(out, leaf{f.Name, []int{i}})
			continue
		}
		for _, in := range leavesOf(f.Type) {
			out = append(out, leaf{f.Name + "." + in.key, append([]int{i}, in.index...)})
		}
	}
	return out
}

// A key that changes nothing would be a lie in the operator's file. Every leaf
// is turned alone, without exception, and the settings must differ.
func TestEveryConfigKeyIsUsed(t *testing.T) {
	base, err := MapConfig("/repo", config.Default())
	if err != nil {
		t.Fatal(err)
	}
	root := reflect.TypeOf(config.Config{})
	leaves := 0
	for _, leaf := range leavesOf(root) {
		key := leaf.key
		leaves++
		t.Run(key, func(t *testing.T) {
			cfg := config.Default()
			change(t, key, reflect.ValueOf(&cfg).Elem().FieldByIndex(leaf.index))
			// Switching one subsystem off alone is refused by design, and so is a link
			// of a process that has both halves; the effect is looked at all the same.
			if err := cfg.Validate(); err != nil && !strings.HasPrefix(key, "Subsystems.Enable") && !strings.HasPrefix(key, "Link.") {
				t.Fatalf("the changed value is not valid: %v", err)
			}
			got, err := MapConfig("/repo", cfg)
			if err != nil {
				t.Fatal(err)
			}
			if reflect.DeepEqual(got, base) {
				t.Error("changing this key changes nothing in Settings")
			}
		})
	}
	if leaves < 40 {
		t.Errorf("only %d keys seen", leaves)
	}
}

func TestMapConfigRefusesBadValues(t *testing.T) {
	for name, spoil := range map[string]func(*config.Config){
		"PieceCidBlocklist":  func(c *config.Config) { c.Dealmaking.PieceCidBlocklist = []string{"x"} },
		"DealPublishControl": func(c *config.Config) { c.Addresses.DealPublishControl = []string{"x"} },
	} {
		cfg := config.Default()
		spoil(&cfg)
		if _, err := MapConfig("/repo", cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRemoteURL(t *testing.T) {
	for in, want := range map[string]string{"": "", "host:1": "http://host:1", "https://host/base/": "https://host/base",
		"http://host:1": "http://host:1"} {
		if got := remoteURL(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

// What the file says reaches the settings, and what cannot work is refused
// with the line or the key to change.
func TestLoadSettings(t *testing.T) {
	const peers = "SealerApiInfo = \"t.o.k:/ip4/127.0.0.1/tcp/7/http\"\nSectorIndexApiInfo = \"t.o.k:/ip4/127.0.0.1/tcp/7/http\"\n"
	switches := func(mining, sealing, storage, markets string) string {
		return "[Subsystems]\nEnableMining = " + mining + "\nEnableSealing = " + sealing +
			"\nEnableSectorStorage = " + storage + "\nEnableMarkets = " + markets + "\n"
	}
	const on, off = "true", "false"
	for name, c := range map[string]struct{ file, want string }{
		"no file":   {"", ""},
		"monolith":  {switches(on, on, on, on), ""},
		"private":   {switches(on, on, on, off), ""},
		"markets":   {switches(off, off, off, on) + peers, ""},
		"no sealer": {switches(off, off, off, on), "SealerApiInfo is empty"},
		"no index": {switches(off, off, off, on) + "SealerApiInfo = \"t.o.k:/ip4/127.0.0.1/tcp/7/http\"\n",
			"SectorIndexApiInfo is empty"},
		"markets, pull":   {switches(off, off, off, on) + "[Link]\nAccept = true\n", ""},
		"private, pull":   {switches(on, on, on, off) + "[Link]\nMarketsApiInfo = \"t.o.k:/ip4/127.0.0.1/tcp/7/http\"\n", ""},
		"pull both ways":  {switches(off, off, off, on) + peers + "[Link]\nAccept = true\n", "revoke that token there"},
		"nothing":         {switches(off, off, off, off), "nothing is enabled"},
		"mining alone":    {switches(on, off, off, off) + peers, "EnableMining without EnableSealing"},
		"without storage": {switches(on, on, off, off) + peers, "EnableMining without EnableSectorStorage"},
		"sealing farm":    {switches(off, on, on, off) + peers, "set EnableMining = true"},
		"sealing alone":   {switches(off, on, off, on) + peers, "EnableSealing needs"},
		"storage alone":   {switches(off, off, on, on) + peers, "EnableSectorStorage needs"},
		"unknown key": {"[Dealmaking]\n\nConsiderOnlineStorageDeal = false\n",
			":3: unknown key Dealmaking.ConsiderOnlineStorageDeal; did you mean Dealmaking.ConsiderOnlineStorageDeals?"},
		"bad value": {"[Dealmaking]\nMaxDealsPerPublishMsg = 0\n", "Dealmaking.MaxDealsPerPublishMsg"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, repo.FileConfig), []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			set, err := LoadSettings(dir, nil)
			if c.want == "" {
				if err != nil || set.RepoDir != dir {
					t.Fatalf("%+v, %v", set, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestEnvironmentOverFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, repo.FileConfig), []byte("[Fees]\nMaxCommitGasFee = \"1 FIL\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := LoadSettings(dir, []string{"MINER_FEES_MAXCOMMITGASFEE=2 attoFIL"})
	if err != nil || !set.Fees.Commit.Equals(big.NewInt(2)) {
		t.Fatalf("%v, %v", set.Fees.Commit, err)
	}
}
