package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"quarry/api"
	"quarry/api/apitest"
	"quarry/node/config"
	"quarry/node/repo"
)

// tokenFor makes a token in a repo that is not in use.
func tokenFor(t *testing.T, dir string, role api.Role, perm api.Permission) string {
	t.Helper()
	r, err := repo.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	token, err := r.Tokens().Create(t.Context(), api.TokenRequest{Name: "test", Role: role, Perm: perm})
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return token
}

// ofMiner makes the repo belong to another miner than the kit gives.
func ofMiner(t *testing.T, dir string, id uint64) {
	t.Helper()
	r, err := repo.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = setMinerAddress(t.Context(), r, must(address.NewIDAddress(id)))
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
}

// A markets node whose config names a process that answers and is not its other
// half does not start, and says what that process is and what to do.
func TestWrongPeerAtStart(t *testing.T) {
	full := fakeNode(t)
	addr, strangerAddr, selfAddr := freePort(t), freePort(t), freePort(t)
	private, stranger := privateSettings(t, full, addr), privateSettings(t, full, strangerAddr)
	ofMiner(t, stranger.RepoDir, 1001)
	right := tokenFor(t, private.RepoDir, api.RoleMarketsPeer, "") + ":" + addr
	strangers := tokenFor(t, stranger.RepoDir, api.RoleMarketsPeer, "") + ":" + strangerAddr
	workers := tokenFor(t, private.RepoDir, api.RoleWorker, "") + ":" + addr
	readers := tokenFor(t, private.RepoDir, "", api.PermRead) + ":" + addr
	start(t, private)
	start(t, stranger)

	second := marketsSettings(t, full, right)
	seconds := tokenFor(t, second.RepoDir, "", api.PermAdmin)
	m := start(t, second)
	own := marketsSettings(t, full, right)
	own.Listen = selfAddr
	self := tokenFor(t, own.RepoDir, "", api.PermAdmin) + ":" + selfAddr

	for name, c := range map[string]struct{ sealer, index, want string }{
		"another miner":         {strangers, strangers, "it is the node of miner f01001, this one is of " + minerID.String()},
		"another miner's index": {right, strangers, "sector storage node: refused: it is the node of miner f01001"},
		"a full node":           {full, full, "does not answer as a miner process"},
		"this process":          {self, self, "is this process itself"},
		"a markets node": {seconds + ":" + m.addr, seconds + ":" + m.addr,
			"Sealing does not run there (it is a markets node with Markets)"},
		"token of a worker":      {workers, workers, "does not allow sealing-peer"},
		"token for reading":      {readers, readers, "does not allow sealing-peer, storage-read"},
		"token of somebody else": {"a.b.c:" + addr, "a.b.c:" + addr, "refused the token"},
		"token of the full node": {apitest.AdminToken + ":" + addr, apitest.AdminToken + ":" + addr, "refused the token"},
		"no token":               {addr, addr, "refused the token"},
	} {
		t.Run(name, func(t *testing.T) {
			set := own
			set.SealerInfo, set.SectorIndexInfo = c.sealer, c.index
			err := Run(t.Context(), set)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
	set := own
	set.SealerInfo, set.SectorIndexInfo = right, right
	start(t, set)
}

// An admin token works, and is told to be too much for a public host.
func TestAdminTokenOfPeer(t *testing.T) {
	full, addr := fakeNode(t), freePort(t)
	private := privateSettings(t, full, addr)
	token := tokenFor(t, private.RepoDir, "", api.PermAdmin)
	start(t, private)
	m := start(t, marketsSettings(t, full, token+":"+addr))
	eventually(t, "the peers are right, with a warning", func() bool {
		s, err := m.NodeStatus(t.Context())
		if err != nil || len(s.Peers) != 2 {
			t.Fatalf("%+v, %v", s, err)
		}
		for _, p := range s.Peers {
			if !p.Reachable || !strings.Contains(p.Warning, "role markets-peer") {
				return false
			}
		}
		return true
	})
}

// A markets node started while the other half is away works, finds out at the
// first contact that a stranger has its address, says so, and works on by itself
// when the right one is there.
func TestStrangerAtReconnect(t *testing.T) {
	full, addr := fakeNode(t), freePort(t)
	private, stranger := privateSettings(t, full, addr), privateSettings(t, full, addr)
	ofMiner(t, stranger.RepoDir, 1001)
	token := tokenFor(t, private.RepoDir, api.RoleMarketsPeer, "")
	// The stranger takes the token too: its repo began as a copy of this one.
	moveKeys(t, private.RepoDir, stranger.RepoDir)
	m := start(t, marketsSettings(t, full, token+":"+addr))
	peers := func(what string, right func(api.PeerStatus) bool) {
		t.Helper()
		eventually(t, what, func() bool {
			s, err := m.NodeStatus(t.Context())
			if err != nil || len(s.Peers) != 2 {
				t.Fatalf("%+v, %v", s, err)
			}
			return right(s.Peers[0]) && right(s.Peers[1])
		})
	}
	s := start(t, stranger)
	peers("the stranger is refused", func(p api.PeerStatus) bool {
		return !p.Reachable && strings.Contains(p.LastError, "refused: it is the node of miner f01001")
	})
	s.stop(t)
	peers("nobody is there", func(p api.PeerStatus) bool { return !p.Reachable && !strings.Contains(p.LastError, "f01001") })
	start(t, private)
	peers("the right one is reachable", func(p api.PeerStatus) bool { return p.Reachable && p.LastError == "" })
}

// moveKeys gives the second repo the token secret and the tokens of the first.
func moveKeys(t *testing.T, from, to string) {
	t.Helper()
	src, err := repo.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	key, err := src.Keystore().Get(repo.KeyJWTSecret)
	if err != nil {
		t.Fatal(err)
	}
	type kv struct{ k, v string }
	var all []kv
	res, err := src.Datastore(repo.Auth).Query(t.Context(), query.Query{})
	if err != nil {
		t.Fatal(err)
	}
	for e := range res.Next() {
		all = append(all, kv{e.Key, string(e.Value)})
	}
	if err := src.Close(); err != nil {
		t.Fatal(err)
	}
	dst, err := repo.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := dst.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, e := range all {
		if err := dst.Datastore(repo.Auth).Put(t.Context(), datastore.NewKey(e.k), []byte(e.v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(dst.Keystore().Delete(repo.KeyJWTSecret), dst.Keystore().Put(repo.KeyJWTSecret, key)); err != nil {
		t.Fatal(err)
	}
}

// copyTree copies a repo that is not in use.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.Chmod(path, 0o600)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// Copies of one repo do not run at the same time: on one machine the repo itself
// says so, elsewhere the directory of sectors that both name, or the private node
// that both talk to.
func TestCopiesOfARepo(t *testing.T) {
	full, addr := fakeNode(t), freePort(t)
	private := privateSettings(t, full, addr)
	token := tokenFor(t, private.RepoDir, api.RoleMarketsPeer, "")
	public := marketsSettings(t, full, token+":"+addr)
	private2, public2 := private, public
	private2.RepoDir, public2.RepoDir = filepath.Join(t.TempDir(), "copy"), filepath.Join(t.TempDir(), "copy")
	private2.Listen = "127.0.0.1:0"
	copyTree(t, private.RepoDir, private2.RepoDir)
	copyTree(t, public.RepoDir, public2.RepoDir)
	start(t, private)
	start(t, public)
	me := fmt.Sprintf("process %d on ", os.Getpid())
	for _, c := range []struct{ first, copy Settings }{{private, private2}, {public, public2}} {
		var copied *repo.ErrCopy
		if err := Run(t.Context(), c.copy); !errors.As(err, &copied) || !strings.HasPrefix(copied.Holder, me) ||
			!strings.Contains(copied.Holder, c.first.RepoDir) {
			t.Errorf("on the same machine: %v", err)
		}
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // as another user or container sees it
	var used *api.ErrInUse
	if err := Run(t.Context(), private2); !errors.As(err, &used) || !strings.HasPrefix(used.Holder, me) ||
		!strings.Contains(used.Holder, private.RepoDir) ||
		used.What != "storage path "+filepath.Join(private.RepoDir, "sectors") {
		t.Errorf("with the same sectors: %v", err)
	}
	if err := Run(t.Context(), public2); err == nil || !strings.Contains(err.Error(), "this markets node is in use by "+me) {
		t.Errorf("with the same private node: %v", err)
	}
}

// Two private nodes of their own, of whatever miner, do not share a directory of
// sectors; nobody holds it once the first has stopped.
func TestOneDirectoryOfSectors(t *testing.T) {
	full := fakeNode(t)
	first, second := privateSettings(t, full, "127.0.0.1:0"), privateSettings(t, full, "127.0.0.1:0")
	ofMiner(t, second.RepoDir, 1001)
	if err := writeStorageFile(filepath.Join(second.RepoDir, repo.FileStorage), filepath.Join(first.RepoDir, "sectors")); err != nil {
		t.Fatal(err)
	}
	p := start(t, first)
	var used *api.ErrInUse
	if err := Run(t.Context(), second); !errors.As(err, &used) || !strings.Contains(used.Holder, minerID.String()) ||
		!strings.Contains(err.Error(), second.RepoDir) {
		t.Errorf("got %v", err)
	}
	p.stop(t)
	start(t, second).stop(t)
}

// The kind of a repo binds, whatever the config, the environment, or a config
// that is gone say.
func TestKindOfRepoBinds(t *testing.T) {
	full := fakeNode(t)
	private, public := privateSettings(t, full, "127.0.0.1:0"), marketsSettings(t, full, "a.b.c:127.0.0.1:1")
	all := func(s Settings) Settings {
		s.Mining, s.Sealing, s.SectorStorage, s.Markets = true, true, true, true
		return s
	}
	for name, c := range map[string]struct {
		set  Settings
		want string
	}{
		"markets repo as a monolith":  {all(public), "it is a markets repo, and the config lets it mine, seal or store"},
		"markets repo that mines":     {func() Settings { s := public; s.Mining = true; return s }(), "mine, seal or store"},
		"markets repo that seals":     {func() Settings { s := public; s.Sealing = true; return s }(), "mine, seal or store"},
		"markets repo that stores":    {func() Settings { s := public; s.SectorStorage = true; return s }(), "mine, seal or store"},
		"markets repo without it":     {func() Settings { s := public; s.Markets = false; return s }(), "turns markets off"},
		"miner's repo without mining": {func() Settings { s := public; s.RepoDir = private.RepoDir; return s }(), "turns mining off"},
	} {
		var invalid *api.ErrInvalid
		if err := Run(t.Context(), c.set); !errors.As(err, &invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, kind := range []repo.Kind{repo.KindWorker, repo.KindDevnet, repo.KindClient} {
		dir := filepath.Join(t.TempDir(), string(kind))
		if err := repo.Init(dir, kind); err != nil {
			t.Fatal(err)
		}
		set := private
		set.RepoDir = dir
		if err := Run(t.Context(), set); err == nil || !strings.Contains(err.Error(), "it is the repo of a "+string(kind)) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	env := []string{"MINER_SUBSYSTEMS_ENABLEMINING=true", "MINER_SUBSYSTEMS_ENABLESEALING=true",
		"MINER_SUBSYSTEMS_ENABLESECTORSTORAGE=true"}
	if _, err := LoadSettings(public.RepoDir, env); err == nil || !strings.Contains(err.Error(), "mine, seal or store") {
		t.Errorf("by the environment: %v", err)
	}
}

// A repo whose config is gone, or is a link into a disk that is not mounted, does
// not start, and an init that is refused does not write one.
func TestConfigGone(t *testing.T) {
	full := fakeNode(t)
	for name, set := range map[string]Settings{"miner": privateSettings(t, full, "127.0.0.1:0"),
		"markets": marketsSettings(t, full, "a.b.c:127.0.0.1:1")} {
		file := filepath.Join(set.RepoDir, repo.FileConfig)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		var missing *config.ErrMissing
		if _, err := LoadSettings(set.RepoDir, nil); !errors.As(err, &missing) || missing.Path != file || missing.Target != "" {
			t.Errorf("%s: gone: %v", name, err)
		}
		if err := os.Symlink("/nowhere/config.toml", file); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadSettings(set.RepoDir, nil); !errors.As(err, &missing) || missing.Target != "/nowhere/config.toml" {
			t.Errorf("%s: dangling: %v", name, err)
		}
		var err error
		if name == "miner" {
			_, err = InitMiner{Dir: set.RepoDir, Actor: minerID, SectorSize: 2 << 10, Config: []byte("[API]\n")}.Run(t.Context(),
				newSetupChain(t))
		} else {
			err = InitMarkets{Dir: set.RepoDir, Miner: must(address.NewIDAddress(1001)), Config: []byte("[API]\n")}.Run(t.Context(),
				newSetupChain(t))
		}
		if err == nil || !strings.Contains(err.Error(), "already belongs to miner "+minerID.String()) {
			t.Errorf("%s: init of a repo that belongs to somebody: %v", name, err)
		}
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the refused init wrote a config: %v", name, err)
		}
	}
	var none *repo.ErrNoRepo
	if _, err := LoadSettings(t.TempDir(), nil); !errors.As(err, &none) {
		t.Errorf("no repo: %v", err)
	}
}

// A repo belongs to the chain it was first started on: a full node of another
// one, where the same addresses are other miners, is refused at the start, and
// nothing is asked of it when it comes later.
func TestFullNodeOfAnotherNetwork(t *testing.T) {
	set := privateSettings(t, fakeNode(t), "127.0.0.1:0")
	start(t, set).stop(t)
	set.FullNodeInfo = fakeNodeOf(t, "other")
	err := Run(t.Context(), set)
	if err == nil || !strings.Contains(err.Error(), "it is on network other ") ||
		!strings.Contains(err.Error(), "belongs to fake ") || !strings.Contains(err.Error(), "FULLNODE_API_INFO") {
		t.Errorf("got %v", err)
	}
	set.FullNodeInfo = "a.b.c:" + strings.TrimPrefix(fakeNode(t), apitest.AdminToken+":http://")
	if err := Run(t.Context(), set); err == nil || !strings.Contains(err.Error(), "refused the token") {
		t.Errorf("a token of another process: %v", err)
	}

	addr := freePort(t)
	set.FullNodeInfo = apitest.AdminToken + ":" + addr
	p := start(t, set) // nobody is there yet
	s := serveFakeNode(t, "other", addr)
	eventually(t, "the full node is refused", func() bool {
		s, err := p.NodeStatus(context.Background())
		return err == nil && !s.Chain.Reachable && strings.Contains(s.Chain.LastError, "refused: it is on network other")
	})
	s.Stop()
	serveFakeNode(t, "fake", addr)
	eventually(t, "the process works", func() bool {
		_, err := p.SectorsList(t.Context(), 0, 10)
		return err == nil
	})
}
