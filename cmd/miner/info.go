package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"quarry/api"
	"quarry/api/client"
)

// infoReport is `info --json`. What could not be asked carries its error, so
// that one half being down does not hide the other.
type infoReport struct {
	Miner   partReport
	Markets *partReport `json:",omitempty"`
	Sectors map[api.SectorState]int
	Faults  []api.ChainFault
	Mining  *api.MiningStatus
	Deals   *int
	Errors  []string
}

type partReport struct {
	Status api.NodeStatus
	Error  string `json:",omitempty"`
}

func infoCommand() *cli.Command {
	return &cli.Command{Name: "info", Usage: "both halves at a glance", Flags: []cli.Flag{jsonFlag}, Action: info}
}

func info(c *cli.Context) error {
	var r infoReport
	fail := func(what string, err error) {
		if err != nil {
			r.Errors = append(r.Errors, what+": "+err.Error())
		}
	}
	n, err := dialMiner(c)
	if err != nil {
		return err
	}
	defer n.Close()
	r.Miner = part(c, n)
	r.Sectors, err = n.SectorsSummary(c.Context)
	fail("sectors", err)
	r.Faults, err = n.SectorsFaults(c.Context)
	fail("faults", err)
	if m, err := n.MiningStatus(c.Context); err == nil {
		r.Mining = &m
	} else {
		fail("mining", err)
	}
	if m, err := dialMarkets(c); err == nil {
		defer m.Close()
		if p := part(c, m); p.Error != "" || slices.Contains(p.Status.Subsystems, api.SubsystemMarkets) {
			r.Markets = &p
			if deals, err := allDeals(c, m); err == nil {
				count := len(deals)
				r.Deals = &count
			} else {
				fail("deals", err)
			}
		} else {
			r.Errors = append(r.Errors, "markets: no markets process is named; set MARKETS_PATH or MARKETS_API_INFO")
		}
	} else {
		fail("markets", err)
	}
	r.Errors = append(r.Errors, r.crossed()...)
	return show(c, r, func(w io.Writer) { printInfo(w, r) })
}

func nextTry(p api.PartStatus) string {
	if p.Next.IsZero() {
		return ""
	}
	return fmt.Sprintf(" (started again %d times, next at %s)", p.Restarts, p.Next.UTC().Format(time.RFC3339))
}

// crossed says when the two halves are not where the commands look for them, or
// not those of one miner.
func (r infoReport) crossed() (out []string) {
	if s := r.Miner.Status.Subsystems; r.Miner.Error == "" && slices.Contains(s, api.SubsystemMarkets) && !slices.Contains(s, api.SubsystemSealing) {
		out = append(out, "miner: a markets node is named as the private one; are MINER_PATH and MARKETS_PATH (or the API infos) crossed?")
	}
	if m := r.Markets; m != nil && m.Error == "" && r.Miner.Error == "" && m.Status.Miner != r.Miner.Status.Miner {
		out = append(out, fmt.Sprintf("markets: it is the markets node of %s, not of %s; name the two halves of one miner", m.Status.Miner, r.Miner.Status.Miner))
	}
	return out
}

func part(c *cli.Context, n *client.MinerAPI) partReport {
	s, err := n.NodeStatus(c.Context)
	if err != nil {
		return partReport{Error: err.Error()}
	}
	return partReport{Status: s}
}

func printInfo(w io.Writer, r infoReport) {
	printPart := func(name string, p partReport) {
		if p.Error != "" {
			fmt.Fprintf(w, "%-8s unreachable: %s\n", name, p.Error)
			return
		}
		fmt.Fprintf(w, "%-8s %s runs %v\n", name, p.Status.Miner, p.Status.Subsystems)
		for _, peer := range append([]api.PeerStatus{p.Status.Chain}, p.Status.Peers...) {
			state := "reachable"
			switch {
			case !peer.Reachable:
				state = "unreachable: " + peer.LastError
			case peer.Warning != "":
				state += ", but " + peer.Warning
			}
			fmt.Fprintf(w, "         %s %s\n", peer.Name, state)
		}
		if p.Status.Link != nil {
			fmt.Fprintf(w, "         %s\n", linkLine(*p.Status.Link))
		}
		for _, m := range p.Status.Messages {
			fmt.Fprintf(w, "         message for %s waits (%s, nonce %d of %s): %s\n", m.Key, m.Cid, m.Nonce, m.From, m.Reason)
		}
		for _, part := range p.Status.Parts {
			if !part.Up {
				fmt.Fprintf(w, "         part %s is down since %s: %s%s\n", part.Name, part.Since.UTC().Format(time.RFC3339), part.Error, nextTry(part))
			}
		}
	}
	printPart("miner", r.Miner)
	if r.Markets != nil {
		printPart("markets", *r.Markets)
	}
	for _, s := range slices.Sorted(maps.Keys(r.Sectors)) {
		fmt.Fprintf(w, "sectors  %4d %s\n", r.Sectors[s], s)
	}
	if len(r.Faults) > 0 {
		fmt.Fprintf(w, "faulty   %s\n", faultLine(r.Faults))
	}
	if m := r.Mining; m != nil {
		fmt.Fprintf(w, "mining   %s\n", miningLine(*m))
	}
	if r.Deals != nil {
		fmt.Fprintf(w, "deals    %d\n", *r.Deals)
	}
	for _, e := range r.Errors {
		fmt.Fprintf(w, "error    %s\n", e)
	}
}

// miningLine leaves out what has not been yet.
func miningLine(m api.MiningStatus) string {
	s := fmt.Sprintf("%d blocks won", m.BlocksWon)
	if m.LastEpoch > 0 {
		s += fmt.Sprintf(", last epoch %d", m.LastEpoch)
	}
	if m.Reason != "" {
		s += " " + m.Reason
	}
	return s
}
