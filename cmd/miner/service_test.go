package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/google/uuid"

	"quarry/api"
	"quarry/api/apitest"
	"quarry/build"
	"quarry/internal/command"
	"quarry/node/repo"
)

const peerToken = "p.e.er"

// fullNode serves what an init asks of a full node, and gives the genesis CID.
func fullNode(t *testing.T) (info, genesis string) {
	t.Helper()
	miner, err := address.NewIDAddress(1000)
	if err != nil {
		t.Fatal(err)
	}
	any := api.TipSetKey{}.Cid()
	head, err := api.NewTipSet([]*api.BlockHeader{{
		Miner:                 miner,
		Ticket:                &api.Ticket{VRFProof: []byte{1}},
		ParentWeight:          big.Zero(),
		ParentBaseFee:         big.Zero(),
		ParentStateRoot:       any,
		ParentMessageReceipts: any,
		Messages:              any,
	}})
	if err != nil {
		t.Fatal(err)
	}
	var chain api.ChainStruct
	chain.Internal.StateMinerInfo = func(_ context.Context, a address.Address, _ api.TipSetKey) (api.MinerInfo, error) {
		if a != miner {
			return api.MinerInfo{}, &api.ErrActorNotFound{Address: a.String()}
		}
		return api.MinerInfo{Owner: a, Worker: a, Beneficiary: a}, nil
	}
	chain.Internal.StateNetworkName = func(context.Context) (string, error) { return "net", nil }
	chain.Internal.ChainGetGenesis = func(context.Context) (*api.TipSet, error) { return head, nil }
	var self api.NodeStruct
	self.Internal.Version = func(context.Context) (api.VersionInfo, error) {
		return api.VersionInfo{Version: "full", APIVersion: 0x020300}, nil
	}
	return apitest.Serve(t, apitest.Parts{Chain: &chain, Node: &self}).Info(apitest.AdminToken), head.Cids[0].String()
}

// peerOf serves a process that says it is id, and gives its address with a token
// that allows perms.
func peerOf(t *testing.T, id api.Identity, perms []api.Permission) string {
	t.Helper()
	var common api.CommonStruct
	common.Internal.Version = func(context.Context) (api.VersionInfo, error) { return api.VersionInfo{Version: "peer"}, nil }
	common.Internal.Handshake = func(context.Context, api.Introduction) (api.Handshake, error) {
		return api.Handshake{Identity: id, Allow: perms}, nil
	}
	s := apitest.Serve(t, apitest.Parts{Common: &common})
	s.Tokens.Set(peerToken, perms...)
	return s.Info(peerToken)
}

// `init service` compares the other half before it makes anything, and says what
// differs under the flag that named it.
func TestInitServiceComparesThePeers(t *testing.T) {
	full, genesis := fullNode(t)
	perms, _ := api.RolePermissions(api.RoleMarketsPeer)
	worker, _ := api.RolePermissions(api.RoleWorker)
	right := api.Identity{
		Miner:    "f01000",
		Network:  "net",
		Genesis:  genesis,
		Kind:     "miner",
		Repo:     uuid.New(),
		Instance: uuid.New(),
		APIVersions: map[api.Subsystem]uint32{api.SubsystemSealing: build.MinerAPIVersion,
			api.SubsystemSectorStorage: build.MinerAPIVersion},
	}
	like := func(change func(*api.Identity)) api.Identity { id := right; change(&id); return id }
	good := peerOf(t, right, perms)
	stranger := peerOf(t, like(func(id *api.Identity) { id.Miner = "f01001" }), perms)
	t.Setenv("FULLNODE_API_INFO", full)
	for name, c := range map[string]struct{ sealer, index, want string }{
		"a full node":     {full, good, "--api-sealer: refused: it does not answer as a miner process (it says it is"},
		"a worker":        {peerOf(t, api.Identity{Kind: "worker"}, perms), good, "belongs to no miner"},
		"a markets node":  {peerOf(t, like(onlyMarkets), perms), good, "Sealing does not run there"},
		"other genesis":   {peerOf(t, like(func(id *api.Identity) { id.Genesis = "bafyother" }), perms), good, "genesis bafyother"},
		"worker's token":  {peerOf(t, right, worker), good, "the token does not allow sealing-peer"},
		"unknown token":   {strings.Replace(good, peerToken, "a.b.c", 1), good, "refused the token"},
		"nobody there":    {peerToken + ":http://127.0.0.1:1", good, "unreachable"},
		"index of others": {good, stranger, "--api-sector-index: refused: it is the node of miner f01001, this one is of f01000"},
		"index of a copy": {good, peerOf(t, like(func(id *api.Identity) { id.Repo = uuid.New() }), perms), "another node of miner f01000"},
		"index elsewhere": {good, full, "--api-sector-index: refused"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "markets")
			var out bytes.Buffer
			err := command.Run(t.Context(), newApp(&out), []string{"miner", "--markets-repo", dir, "init", "service",
				"--api-sealer", c.sealer, "--api-sector-index", c.index})
			if err == nil || !strings.Contains(err.Error(), c.want) || out.Len() > 0 {
				t.Errorf("got %v, printed %q\nwant %s", err, out.String(), c.want)
			}
			if repo.Exists(dir) {
				t.Error("a repo was made")
			}
		})
	}
	dir := filepath.Join(t.TempDir(), "markets")
	var out bytes.Buffer
	if err := command.Run(t.Context(), newApp(&out), []string{"miner", "--markets-repo", dir, "init", "service", "--api-sealer",
		good}); err != nil ||
		!strings.Contains(out.String(), "markets node of f01000 is ready in "+dir) {
		t.Errorf("%v, printed %q", err, out.String())
	}
}

// What does not work, and what works but should not stay, is in the summary.
func TestInfoShowsTrouble(t *testing.T) {
	at := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	r := infoReport{Miner: partReport{Status: api.NodeStatus{
		Miner:      "f01000",
		Subsystems: []api.Subsystem{api.SubsystemMarkets},
		Chain:      api.PeerStatus{Name: "full node", Reachable: true},
		Peers: []api.PeerStatus{{Name: "sealing", LastError: "refused: it is the node of miner f01001"},
			{Name: "sector storage", Reachable: true, Warning: "the token allows everything"}},
		Parts: []api.PartStatus{{Name: "markets", Up: true}, {
			Name:     "retrieval",
			Since:    at,
			Error:    "port taken",
			Restarts: 3,
			Next:     at.Add(time.Minute),
		}, {Name: "api", Since: at, Error: "x"}},
	}}}
	want := `miner    f01000 runs [Markets]
         full node reachable
         sealing unreachable: refused: it is the node of miner f01001
         sector storage reachable, but the token allows everything
         part retrieval is down since 2024-01-02T03:04:05Z: port taken (started again 3 times, next at 2024-01-02T03:05:05Z)
         part api is down since 2024-01-02T03:04:05Z: x
`
	var out bytes.Buffer
	if printInfo(&out, r); out.String() != want {
		t.Errorf("got %s", out.String())
	}
}

// Addresses that are crossed, and halves of two miners, are told.
func TestInfoShowsCrossedHalves(t *testing.T) {
	half := func(miner string, subs ...api.Subsystem) partReport {
		return partReport{Status: api.NodeStatus{Miner: miner, Subsystems: subs}}
	}
	private, public := half("f01000", api.SubsystemMining, api.SubsystemSealing, api.SubsystemSectorStorage), half("f01000",
		api.SubsystemMarkets)
	all := half("f01000", api.SubsystemMining, api.SubsystemSealing, api.SubsystemSectorStorage, api.SubsystemMarkets)
	others := half("f01001", api.SubsystemMarkets)
	away := partReport{Error: "no answer"}
	for name, c := range map[string]struct {
		r    infoReport
		want string
	}{
		"right":           {infoReport{Miner: private, Markets: &public}, ""},
		"monolith":        {infoReport{Miner: all, Markets: &all}, ""},
		"private alone":   {infoReport{Miner: private}, ""},
		"markets away":    {infoReport{Miner: private, Markets: &away}, ""},
		"private away":    {infoReport{Miner: away, Markets: &public}, ""},
		"crossed":         {infoReport{Miner: public, Markets: &private}, "are MINER_PATH and MARKETS_PATH (or the API infos) crossed?"},
		"other's markets": {infoReport{Miner: private, Markets: &others}, "it is the markets node of f01001, not of f01000"},
	} {
		got := strings.Join(c.r.crossed(), "\n")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A sector is named with its miner: those of several miners have the same numbers.
func TestSectorsAreNamedWithTheirMiner(t *testing.T) {
	id := abi.SectorID{Miner: 1001, Number: 7}
	if got := sectorOf(id); got != "7 of f01001" {
		t.Error(got)
	}
	var out bytes.Buffer
	printSector(&out, api.SectorInfo{Sector: api.SectorRef{ID: id}})
	printDeal(&out, api.DealInfo{Placement: &api.PiecePlacement{Sector: id}})
	if n := strings.Count(out.String(), "sector:     7 of f01001"); n != 2 {
		t.Errorf("%d times in %s", n, out.String())
	}
}

// onlyMarkets makes the identity that of a markets node.
func onlyMarkets(id *api.Identity) {
	id.APIVersions = map[api.Subsystem]uint32{api.SubsystemMarkets: 1}
}
