package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/internal/command"
)

// Mistakes on the command line are named, with what to do, before anything is
// made or asked.
func TestMistakesAreNamed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "repo")
	t.Setenv("FULLNODE_API_INFO", "")
	t.Setenv("MINER_API_INFO", "")
	t.Setenv("MARKETS_API_INFO", "")
	t.Setenv("MINER_PATH", dir)
	t.Setenv("MARKETS_PATH", "")
	for want, args := range map[string]string{
		"set FULLNODE_API_INFO=token:address":        "init --owner f01",
		"holds no repo; run init first":              "info",
		"name one sector number":                     "sectors status",
		`"x" is not a sector number`:                 "sectors status x",
		"name one deal UUID":                         "storage-deals get",
		`"x" is not a deal UUID`:                     "storage-deals get x",
		"give either --perm":                         "auth create-token",
		"name one token id":                          "auth revoke",
		"name one directory":                         "storage attach",
		"add --seal, --store or both":                "storage attach --init " + dir,
		"--max-storage":                              "storage attach --init --seal --max-storage much " + dir,
		`--sector-size "big"`:                        "init --sector-size big",
		`--owner "me"`:                               "init --owner me",
		"only markets can be a service":              "init service --type mining",
		"no repo is named: give --markets-repo":      "init service",
		"no sealing node is named":                   "--markets-repo " + dir + " init service",
		"set FULLNODE_API_INFO=token:address (m":     "run",
		`--max-storage "-5GiB": it is negative`:      "storage attach --init --store --max-storage -5GiB " + dir,
		`--max-storage "0": it is less than`:         "storage attach " + dir + " --init --store --max-storage 0",
		`--timeout "soon": it is not a span`:         "wait-api --timeout soon",
		`--log-level "loud" is none of debug`:        "run --log-level loud",
		`has no command "restore"`:                   "init --owner f01 restore backup.car",
		"--max-storage has no effect without --init": "storage attach --max-storage 1TiB " + dir,
		"--owner has no effect beside --actor":       "init --actor f01000 --owner f01",
		"--sector-size has no effect beside":         "init --actor f01000 --sector-size 2KiB",
		`"now" is one too many`:                      "stop now",
		`did you mean ` + "`miner sectors list`":     "sectors lst",
	} {
		var out bytes.Buffer
		err := command.Run(t.Context(), newApp(&out), append([]string{"miner"}, strings.Fields(args)...))
		if err == nil || !strings.Contains(err.Error(), want) || out.Len() > 0 {
			t.Errorf("%s: %v, printed %q", args, err, out.String())
		}
	}
	if m, err := filepath.Glob(dir + "*"); err != nil || len(m) > 0 {
		t.Errorf("something was made: %v, %v", m, err)
	}
}

// The summary is the same however often it is asked for.
func TestPrintInfo(t *testing.T) {
	deals := 3
	r := infoReport{
		Miner: partReport{Status: api.NodeStatus{Miner: "f01000", Chain: api.PeerStatus{Name: "full node", LastError: "refused"},
			Messages: []api.MessageStatus{{
				Key:    "s-t01000-1/commit",
				Cid:    cid.MustParse("bafkqaaa"),
				From:   "f0100",
				Nonce:  3,
				Reason: "raise Fees.X",
			}}}},
		Markets: &partReport{Error: "no answer"},
		Deals:   &deals,
		Errors:  []string{"mining: away"},
		Sectors: map[api.SectorState]int{api.SectorProving: 7, api.SectorAvailable: 1, api.SectorWaitDeals: 2},
	}
	want := `miner    f01000 runs []
         full node unreachable: refused
         message for s-t01000-1/commit waits (bafkqaaa, nonce 3 of f0100): raise Fees.X
markets  unreachable: no answer
sectors     1 Available
sectors     7 Proving
sectors     2 WaitDeals
deals    3
error    mining: away
`
	for range 20 {
		var out bytes.Buffer
		if printInfo(&out, r); out.String() != want {
			t.Fatalf("got %s", out.String())
		}
	}
}
