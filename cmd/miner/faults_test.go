package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"

	"quarry/api"
)

var noticed = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func aFault(n abi.SectorNumber) api.ChainFault {
	return api.ChainFault{
		Sector:    n,
		Deadline:  12,
		Partition: 3,
		Since:     4711,
		Time:      noticed,
		Why:       "its files could not be read",
		Do:        "look at the disk",
	}
}

func printed(f func(w io.Writer)) string {
	var out bytes.Buffer
	f(&out)
	return out.String()
}

// contains fails for every word that is not in got.
func contains(t *testing.T, got string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(got, w) {
			t.Errorf("%q is not in\n%s", w, got)
		}
	}
}

func lacks(t *testing.T, got string, words ...string) {
	t.Helper()
	for _, w := range words {
		if strings.Contains(got, w) {
			t.Errorf("%q is in\n%s", w, got)
		}
	}
}

// A faulty sector is shown as one wherever sectors are: which, since when, why,
// and what to do.
func TestFaultIsShownWhereSectorsAre(t *testing.T) {
	f := aFault(7)
	bad := api.SectorInfo{Sector: api.SectorRef{ID: abi.SectorID{Miner: 1000, Number: 7}}, State: api.SectorProving, Fault: &f,
		Expiration: 99999}
	good := api.SectorInfo{Sector: api.SectorRef{ID: abi.SectorID{Miner: 1000, Number: 8}}, State: api.SectorProving}

	list := printed(func(w io.Writer) { printPage(t, w, sectorListing(nil), []api.SectorInfo{bad, good}) })
	contains(t, list, "Proving (faulty)", "faulty since epoch 4711 (2026-03-04T05:06:07Z): its files could not be read", "99999")
	if n := strings.Count(list, "faulty since"); n != 1 {
		t.Errorf("%d sectors are said to be faulty:\n%s", n, list)
	}

	status := printed(func(w io.Writer) { printSector(w, bad) })
	contains(t, status, "Proving (faulty)",
		"fault:      since epoch 4711 (2026-03-04T05:06:07Z), deadline 12, partition 3: its files could not be read\n",
		"what to do: look at the disk\n")
	lacks(t, printed(func(w io.Writer) { printSector(w, good) }), "fault", "what to do")

	summary := printed(func(w io.Writer) {
		printInfo(w, infoReport{Sectors: map[api.SectorState]int{api.SectorProving: 2}, Faults: []api.ChainFault{f}})
	})
	contains(t, summary, "faulty   1 of the sectors: 7 since epoch 4711 (2026-03-04T05:06:07Z) (see miner proving faults)\n")
	lacks(t, printed(func(w io.Writer) { printInfo(w, infoReport{}) }), "faulty")

	table := printed(func(w io.Writer) { printFaults(w, []api.ChainFault{f}) })
	contains(t, table, "7", "12", "3", "faulty", "epoch 4711 (2026-03-04T05:06:07Z)", "its files could not be read", "look at the disk")
	if got := printed(func(w io.Writer) { printFaults(w, nil) }); got != "no sector is faulty\n" {
		t.Errorf("without faults: %q", got)
	}
	var back api.SectorInfo
	b, err := json.Marshal(bad)
	if err != nil || json.Unmarshal(b, &back) != nil || *back.Fault != f {
		t.Errorf("as JSON the fault is %+v (%v)", back.Fault, err)
	}
}

func TestFaultWords(t *testing.T) {
	f := aFault(7)
	f.Earlier, f.Recovering = true, true
	if got := since(f); got != "epoch 4711 (2026-03-04T05:06:07Z) or before" {
		t.Errorf("since %s", got)
	}
	s := api.SectorInfo{State: api.SectorProving, Fault: &f, LastErr: "disk full"}
	if got := stateWord(s); got != "Proving (recovering)" {
		t.Errorf("state %s", got)
	}
	if got := sectorNote(s); got != "recovering since epoch 4711 (2026-03-04T05:06:07Z) or before: its files could not be read; disk full" {
		t.Errorf("note %s", got)
	}
	s = api.SectorInfo{LastErr: "disk full", Task: &api.TaskStatus{Stage: "tree-c", Percent: 12}}
	if got := sectorNote(s); got != "tree-c 12%" {
		t.Errorf("note %s", got)
	}
	if got := sectorNote(api.SectorInfo{}); got != "" {
		t.Errorf("note %q", got)
	}
	many := make([]api.ChainFault, maxNamed+3)
	contains(t, faultLine(many), "13 of the sectors: ", ", and 3 more (see")
	lacks(t, faultLine(many[:maxNamed]), "more")
}

// What does not exist yet is not shown as 0, -1 or the year 1; what is number 0
// is.
func TestNothingIsShownBeforeItIs(t *testing.T) {
	young := api.SectorInfo{State: api.SectorPacking, LastErr: "x", Updated: noticed}
	list := printed(func(w io.Writer) { printPage(t, w, sectorListing(nil), []api.SectorInfo{young}) })
	status := printed(func(w io.Writer) { printSector(w, young) })
	lacks(t, status, "epoch", "retry", "0001", "ticket", "seed", "expires")
	if fields := strings.Fields(strings.Split(list, "\n")[1]); len(fields) != 6 { // miner, number, state, deals, updated, note
		t.Errorf("a young sector is listed as %q", fields)
	}
	old := api.SectorInfo{
		TicketEpoch: 1,
		SeedEpoch:   2,
		Expiration:  3,
		LastErr:     "x",
		Retries:     4,
		NextRetry:   noticed,
	}
	contains(t, printed(func(w io.Writer) { printSector(w, old) }), "ticket:     epoch 1\n", "seed:       epoch 2\n",
		"expires:    epoch 3\n",
		"last error: x (retry 4, next 2026-03-04T05:06:07Z)\n")

	fresh := api.DealInfo{UUID: uuid.MustParse("00112233-4455-6677-8899-aabbccddeeff"), Checkpoint: api.DealAccepted, SectorStartEpoch: -1}
	got := printed(func(w io.Writer) { printDeal(w, fresh) })
	contains(t, got, "(not on chain yet)", "not active yet")
	lacks(t, got, "-1", "on chain 0", "placed:", "what to do")
	lacks(t, printed(func(w io.Writer) { printPage(t, w, dealListing(nil), []api.DealInfo{fresh}) }), "-1", "eeff  0")
	first := fresh
	first.OnChain, first.ChainDealID, first.SectorStartEpoch, first.Attempt = true, 0, 0, 2
	got = printed(func(w io.Writer) { printDeal(w, first) })
	contains(t, got, "(on chain 0)", "active since 0", "placed:     again, 2 times")
	contains(t, printed(func(w io.Writer) { printPage(t, w, dealListing(nil), []api.DealInfo{first}) }), "eeff  0")

	lacks(t, printed(func(w io.Writer) { printInfo(w, infoReport{Mining: &api.MiningStatus{Reason: "no power"}}) }), "epoch")
	contains(t, printed(func(w io.Writer) {
		printInfo(w, infoReport{Mining: &api.MiningStatus{BlocksWon: 3, LastEpoch: 9, Reason: "no power"}})
	}),
		"mining   3 blocks won, last epoch 9 no power\n")
}

// Every deal with an error says what can be done.
func TestDealAdvice(t *testing.T) {
	id := uuid.MustParse("00112233-4455-6677-8899-aabbccddeeff")
	for want, d := range map[string]api.DealInfo{
		"nothing: the deal is over":                        {Retry: api.DealRetryFatal, Fault: api.FaultStore},
		"miner storage-deals retry " + id.String():         {UUID: id, Retry: api.DealRetryManual, Fault: api.FaultCaller},
		"the client has to mend it":                        {Retry: api.DealRetryAuto, Fault: api.FaultCaller},
		"mend the setting or the token":                    {Retry: api.DealRetryAuto, Fault: api.FaultOperator},
		"it is tried again by itself; see `miner info` on": {Retry: api.DealRetryAuto, Fault: api.FaultNetwork},
	} {
		d.Err = "broken"
		contains(t, printed(func(w io.Writer) { printDeal(w, d) }), "error:      broken", "what to do: ", want)
	}
}
