package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quarry/api"
	"quarry/api/apitest"
	"quarry/internal/command"
	"quarry/node/config"
	"quarry/node/repo"
)

var awaySince = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// halfOf serves a half that says st of itself, and has no sectors and no deals.
func halfOf(t *testing.T, st api.NodeStatus) *apitest.Server {
	t.Helper()
	var common api.CommonStruct
	common.Internal.NodeStatus = func(context.Context) (api.NodeStatus, error) { return st, nil }
	common.Internal.AuthCreate = func(context.Context, api.TokenRequest) (string, error) { return "n.e.w", nil }
	var sealing api.SealingStruct
	sealing.Internal.SectorsSummary = func(context.Context) (map[api.SectorState]int, error) {
		return map[api.SectorState]int{api.SectorProving: 2}, nil
	}
	sealing.Internal.SectorsFaults = func(context.Context) ([]api.ChainFault, error) { return nil, nil }
	var mining api.MiningStruct
	mining.Internal.MiningStatus = func(context.Context) (api.MiningStatus, error) { return api.MiningStatus{BlocksWon: 1}, nil }
	mining.Internal.ProvingStatus = func(context.Context) (api.ProvingStatus, error) { return api.ProvingStatus{}, nil }
	var index api.IndexStruct
	index.Internal.StorageList = func(context.Context) ([]api.StoragePath, error) { return nil, nil }
	var markets api.MarketsStruct
	markets.Internal.DealsSummary = func(context.Context) (map[api.DealCheckpoint]int, error) {
		return map[api.DealCheckpoint]int{api.DealAccepted: 1, api.DealTransferred: 1}, nil
	}
	markets.Internal.DealsQuery = func(_ context.Context, q api.DealQuery) (api.DealPage, error) {
		if !q.Failed || q.Retry != api.DealRetryManual {
			return api.DealPage{}, errors.New("only those that wait for the operator are asked for")
		}
		if q.Cursor == "" { // a page may be empty before the end
			return api.DealPage{Next: "more"}, nil
		}
		return api.DealPage{Deals: []api.DealInfo{{Err: "no funds", Retry: api.DealRetryManual}}}, nil
	}
	return apitest.Serve(t, apitest.Parts{
		Common:  &common,
		Sealing: &sealing,
		Mining:  &mining,
		Markets: &markets,
		Storage: &onlyIndex{IndexStruct: index},
	})
}

type onlyIndex struct {
	api.IndexStruct
	api.LeasesStruct
	api.TasksStruct
	api.FleetStruct
	api.ProverStruct
}

func privateStatus() api.NodeStatus {
	return api.NodeStatus{
		Miner:      "f01000",
		Subsystems: []api.Subsystem{api.SubsystemMining, api.SubsystemSealing, api.SubsystemSectorStorage},
		Chain:      api.PeerStatus{Name: "full node", Reachable: true},
		StartedAt:  awaySince,
	}
}

func marketsStatus() api.NodeStatus {
	return api.NodeStatus{
		Miner:      "f01000",
		Subsystems: []api.Subsystem{api.SubsystemMarkets},
		Chain:      api.PeerStatus{Name: "full node", Reachable: true},
		Peers:      []api.PeerStatus{{Name: "sealing", Reachable: true}},
		StartedAt:  awaySince.Add(time.Second),
	}
}

// stopped makes a repo on which nothing runs.
func stopped(t *testing.T, kind repo.Kind) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), string(kind))
	if err := repo.Init(dir, kind); err != nil {
		t.Fatal(err)
	}
	return dir
}

// runInfo is `miner info` with what the environment names.
func runInfo(t *testing.T, env map[string]string, args ...string) (out string, code int, errText string) {
	t.Helper()
	for _, name := range []string{"MINER_PATH", "MARKETS_PATH", "MINER_API_INFO", "MARKETS_API_INFO", "LOTUS_MINER_PATH",
		"LOTUS_MARKETS_PATH"} {
		t.Setenv(name, env[name])
	}
	var stdout, stderr bytes.Buffer
	err := command.Run(t.Context(), newApp(&stdout), append([]string{"miner", "info"}, args...))
	code = command.Report(&stderr, err)
	return stdout.String(), code, stderr.String()
}

// Whichever half is down, the other is shown, with since when, and the exit code
// says that it is the operator's turn.
func TestInfoWithOneHalfDown(t *testing.T) {
	privateDown, marketsDown := stopped(t, repo.KindMiner), stopped(t, repo.KindMarkets)
	lonely := marketsStatus()
	lonely.Peers = []api.PeerStatus{{Name: "sealing", Since: awaySince, LastError: "connection refused"}}
	missed := privateStatus()
	missed.Callers = []api.PeerStatus{{Name: "markets", Since: awaySince, LastError: "it is not heard of any more"}}
	nowhere := "a.b.c:/ip4/127.0.0.1/tcp/1/http"
	markets, private := halfOf(t, lonely).Info(apitest.AdminToken), halfOf(t, missed).Info(apitest.AdminToken)
	for name, c := range map[string]struct {
		env  map[string]string
		want []string
	}{
		"private stopped": {map[string]string{"MINER_PATH": privateDown, "MARKETS_API_INFO": markets}, []string{
			"miner    unreachable, away since 2026-03-04T05:06:07Z: no process is running on repo " + privateDown,
			"markets  f01000 runs [Markets]\n", "         sealing unreachable since 2026-03-04T05:06:07Z: connection refused\n",
			"deals    2\n", "what to do:\n   1. start the private node (`miner run`)", "1 deal is waiting for you"}},
		"private gone": {map[string]string{"MINER_API_INFO": nowhere, "MARKETS_API_INFO": markets}, []string{
			"miner    unreachable, away since 2026-03-04T05:06:07Z: ", "deals    2\n"}},
		"markets stopped": {map[string]string{"MINER_API_INFO": private, "MARKETS_PATH": marketsDown}, []string{
			"miner    f01000 runs", "markets  unreachable, away since 2026-03-04T05:06:07Z: no process is running on repo " + marketsDown,
			"sectors     2 Proving\n", "mining   1 blocks won", "1. start the markets node, or name the one"}},
		"markets gone": {map[string]string{"MINER_API_INFO": private, "MARKETS_API_INFO": nowhere}, []string{
			"markets  unreachable, away since 2026-03-04T05:06:07Z: ", "sectors     2 Proving\n"}},
		"private alone, stopped": {map[string]string{"MINER_PATH": privateDown}, []string{
			"miner    unreachable: no process is running on repo " + privateDown, "1. start the private node"}},
		"both stopped": {map[string]string{"MINER_PATH": privateDown, "MARKETS_PATH": marketsDown}, []string{
			"miner    unreachable: ", "markets  unreachable: ", "1. start the private node", "2. start the markets node"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, code, text := runInfo(t, c.env)
			if code != command.ExitAct || !strings.HasPrefix(text, "what to do: ") {
				t.Errorf("exit code %d, %q", code, text)
			}
			contains(t, out, c.want...)
			asJSON, code, _ := runInfo(t, c.env, "--json")
			var r infoReport
			if err := json.Unmarshal([]byte(asJSON), &r); err != nil || code != command.ExitAct || len(r.Act) == 0 {
				t.Errorf("as JSON: %v, exit code %d, %d things to do", err, code, len(r.Act))
			}
		})
	}
}

// Nothing to do is exit code 0; a host that names one half only is no fault, and
// one that names nothing is told so.
func TestInfoWhenAllIsWell(t *testing.T) {
	good := marketsStatus()
	private := halfOf(t, privateStatus()).Info(apitest.AdminToken)
	markets := halfOf(t, good)
	public := t.TempDir() // holds no repo
	out, code, text := runInfo(t, map[string]string{"MINER_API_INFO": private})
	if code != command.ExitDone || text != "" {
		t.Errorf("private alone: %d, %q in\n%s", code, text, out)
	}
	contains(t, out, "note     no markets process is named here")
	t.Setenv("HOME", public)
	out, code, text = runInfo(t, map[string]string{"MARKETS_API_INFO": markets.Info(apitest.AdminToken)})
	if code != command.ExitAct || !strings.Contains(out, "1. 1 deal is waiting for you") || strings.Contains(out, "2.") {
		t.Errorf("markets alone: %d, %q in\n%s", code, text, out)
	}
	contains(t, out, "miner    not named here; set MINER_PATH or MINER_API_INFO", "markets  f01000 runs [Markets]")
	out, code, text = runInfo(t, map[string]string{"MARKETS_API_INFO": markets.Info(apitest.AdminToken), "MINER_PATH": public})
	if code != command.ExitAct || !strings.Contains(out, "1. start the private node") {
		t.Errorf("a private node named wrongly: %d, %q in\n%s", code, text, out)
	}
	_, code, text = runInfo(t, map[string]string{"MINER_PATH": public})
	if code != command.ExitFailed || !strings.Contains(text, "holds no repo; run init first") {
		t.Errorf("nothing named: %d, %q", code, text)
	}
}

// What waits for the operator is listed, the most urgent first, and what heals by
// itself is not.
func TestWhatToDo(t *testing.T) {
	faults := []api.ChainFault{{Sector: 1}, {Sector: 2, Recovering: true}, {Sector: 3}}
	st := privateStatus()
	st.Chain = api.PeerStatus{LastError: "refused"}
	st.Peers = []api.PeerStatus{{Name: "sealing", LastError: "refused: another miner"}, {Name: "sector storage", Reachable: true}}
	st.Parts = []api.PartStatus{{Name: "api", Up: true}, {Name: "markets", Error: "port taken"}}
	st.Messages = []api.MessageStatus{{Key: "s-t01000-1/commit", Reason: "raise Fees.MaxCommitGasFee"}}
	st.Notices = []api.Notice{{Text: "only a note", Do: "x"}, {Act: true, Text: "the chain has no address", Do: "miner actor set-addrs"}}
	st.Callers = []api.PeerStatus{{Name: "markets", Since: awaySince}}
	r := infoReport{
		Miner:  partReport{Status: st},
		Faults: faults,
		Alerts: []string{"deadline 3 closes unproven"},
		Paths:  []string{"p1: NOT USABLE: gone"},
		Stuck:  2,
	}
	want := []string{
		"window PoSt: deadline 3 closes unproven",
		"2 sectors are faulty: `miner proving faults` says why and what to do",
		"storage path p1: NOT USABLE: gone",
		"miner: let it reach the full node again: refused",
		"miner: let it reach the sealing node again: refused: another miner",
		"miner: the markets node is away since 2026-03-04T05:06:07Z: start it",
		"miner: part markets: port taken",
		"miner: message for s-t01000-1/commit: raise Fees.MaxCommitGasFee",
		"miner: the chain has no address; what to do: miner actor set-addrs",
		"2 deals are waiting for you: `miner storage-deals list` says for what, `miner storage-deals retry` goes on",
	}
	if got := r.todo(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	same := r.Miner
	r.Markets = &same
	if got := r.todo(); len(got) != len(want) {
		t.Errorf("one process is told twice:\n%s", strings.Join(got, "\n"))
	}
	lacks(t, printed(func(w io.Writer) { printInfo(w, r) }), "markets  f01000 runs")
	if got := (infoReport{Miner: partReport{Status: privateStatus()}, Faults: faults[1:2]}).todo(); len(got) > 0 {
		t.Errorf("all heals by itself, yet: %v", got)
	}
	out := printed(func(w io.Writer) { printInfo(w, infoReport{Miner: partReport{Status: st}, Act: []string{"a", "b"}}) })
	contains(t, out, "warning: the chain has no address; what to do: miner actor set-addrs\n",
		"markets unreachable since 2026-03-04T05:06:07Z", "what to do:\n   1. a\n   2. b\n")
}

// The line for another process carries the address that the node tells others, not
// the one that this command found it under, and says where that is a guess.
func TestAPIInfoCarriesTheAddressForOthers(t *testing.T) {
	st := privateStatus()
	st.Address = "http://10.0.0.5:2345"
	st.Notices = []api.Notice{{Text: "the API listens on every address", Do: "set API.RemoteListenAddress"}, {Text: "of something else"}}
	t.Setenv("MINER_PATH", "")
	t.Setenv("MARKETS_PATH", "")
	t.Setenv("MINER_API_INFO", halfOf(t, st).Info(apitest.AdminToken))
	var out, notes bytes.Buffer
	app := newApp(&out)
	app.ErrWriter = &notes
	if err := command.Run(t.Context(), app, strings.Fields("miner auth api-info --role worker")); err != nil ||
		out.String() != "MINER_API_INFO=n.e.w:http://10.0.0.5:2345\n" {
		t.Errorf("%v, %q", err, out.String())
	}
	if notes.String() != "note: the API listens on every address; set API.RemoteListenAddress\n" {
		t.Errorf("noted %q", notes.String())
	}
}

// An init names the settings that are missing where it listens on every address.
func TestInitNamesMissingSettings(t *testing.T) {
	cfg := config.Default()
	has := func(published bool, want ...string) {
		t.Helper()
		got := strings.Join(addressNotes(t.Context(), cfg, published), "\n")
		contains(t, got, want...)
		if len(want) == 0 && got != "" {
			t.Errorf("noted %q", got)
		}
	}
	has(true)
	has(false, "`miner actor set-addrs` with the multiaddr")
	for _, listen := range []string{"0.0.0.0:2345", "[::]:2345", "/ip4/0.0.0.0/tcp/2345/http"} {
		cfg.API.ListenAddress = listen
		has(true, "the API will listen on every address and tell others http://", ":2345; ", "set API.RemoteListenAddress (--advertise)")
	}
	cfg.API.RemoteListenAddress = "storage.example:2345"
	has(true)
	cfg.Subsystems.EnableMarkets = false
	has(false)
}

// Addresses are written without the peer id, and what is no address is refused.
func TestActorAddresses(t *testing.T) {
	for in, want := range map[string]string{
		"/ip4/203.0.113.7/tcp/24001":                    "/ip4/203.0.113.7/tcp/24001",
		"/dns4/a.example/tcp/1/p2p/" + somePeer:         "/dns4/a.example/tcp/1",
		"/p2p/" + somePeer:                              "",
		"203.0.113.7:24001":                             "",
		"/ip4/203.0.113.7/tcp/24001/p2p/not-a-peer-id!": "",
	} {
		if got, err := bareAddr(in); got != want || (err != nil) != (want == "") || err != nil && !strings.Contains(err.Error(), in) {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
	got := publicAddrs([]string{"/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip4/8.8.8.8/tcp/1", "/dns4/a.example/tcp/1", "bad",
		"/ip6/::1/tcp/1"})
	if strings.Join(got, " ") != "/ip4/8.8.8.8/tcp/1 /dns4/a.example/tcp/1" {
		t.Errorf("%v", got)
	}
}

const somePeer = "12D3KooWGRUqwKPUmQTBt3NPjXBNcZTkyZTDuVEDfMAyaqvSvMHs"

// Detaching, removing and revoking ask first; nobody is there in a test.
func TestDestructiveCommandsAsk(t *testing.T) {
	t.Setenv("MINER_API_INFO", "a.b.c:/ip4/127.0.0.1/tcp/1/http")
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for line, want := range map[string]string{
		"sectors remove 7":        "this would remove sector 7 and every file of it; add --yes",
		"sectors abort-upgrade 7": "this would give up what sector 7 took in and return its deals; add --yes",
		"storage detach p1":       "this would detach path p1",
		"auth revoke t1":          "add --yes",
	} {
		run := func(line string) error {
			app := newApp(&bytes.Buffer{})
			app.Reader, app.ErrWriter = null, &bytes.Buffer{}
			return command.Run(t.Context(), app, append([]string{"miner"}, strings.Fields(line)...))
		}
		var usage *command.UsageError
		if err := run(line); !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		}
		var away *api.ErrUnreachable
		if err := run(line + " --yes"); !errors.As(err, &away) {
			t.Errorf("%s --yes: %v", line, err)
		}
	}
}
