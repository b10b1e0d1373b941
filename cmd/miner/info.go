package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"quarry/api"
	"quarry/api/client"
	"quarry/internal/command"
	"quarry/node/repo"
)

// halfLimit bounds what is asked of one half: one that hangs must not keep the
// operator from seeing the other.
const halfLimit = 15 * time.Second

// infoReport is `miner info --json`.
type infoReport struct {
	Miner   partReport
	Markets *partReport `json:",omitempty"`
	Sectors map[api.SectorState]int
	Faults  []api.ChainFault
	Mining  *api.MiningStatus
	Alerts  []string `json:",omitempty"` // what puts proofs in danger
	Paths   []string `json:",omitempty"` // storage paths that cannot be used
	Deals   *int
	Stuck   int      `json:",omitempty"` // deals that wait for the operator
	Notes   []string `json:",omitempty"`
	Errors  []string
	Act     []string `json:",omitempty"` // what the operator must do
}

// partReport is one half. One that does not answer is away; since when, the other
// half may know.
type partReport struct {
	Status    api.NodeStatus
	Error     string    `json:",omitempty"`
	AwaySince time.Time `json:",omitzero"`
	// Unnamed says that nothing on this host names this half.
	Unnamed bool `json:",omitempty"`
}

func infoCommand() *cli.Command {
	return &cli.Command{
		Name:   "info",
		Usage:  "both halves at a glance",
		Flags:  []cli.Flag{jsonFlag},
		Action: info,
		Description: "It shows what it can when either half is away. The exit code is 2 when something waits for you, with " +
			"the list of what.",
	}
}

func info(c *cli.Context) error {
	var r infoReport
	if err := r.ask(c); err != nil {
		return err
	}
	r.Act = r.todo()
	if err := show(c, r, func(w io.Writer) { printInfo(w, r) }); err != nil || len(r.Act) == 0 {
		return err
	}
	return &command.ActError{Reason: fmt.Sprintf("what to do: %d, see above", len(r.Act))}
}

// ask asks both halves. It fails only where there is nobody to ask.
func (r *infoReport) ask(c *cli.Context) error {
	none := r.askMiner(c)
	if err := r.askMarkets(c, none); err != nil {
		return err
	}
	r.sinceWhen()
	r.Errors = append(r.Errors, r.crossed()...)
	return nil
}

// within is the command with a limit of time.
func within(c *cli.Context, limit time.Duration) (*cli.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(c.Context, limit)
	bounded := *c
	bounded.Context = ctx
	return &bounded, cancel
}

func (r *infoReport) fail(what string, err error) {
	if err != nil {
		r.Errors = append(r.Errors, what+": "+err.Error())
	}
}

// askMiner fills what the private half knows. The error is why there is nobody to
// ask.
func (r *infoReport) askMiner(c *cli.Context) error {
	c, cancel := within(c, halfLimit)
	defer cancel()
	n, err := dialMiner(c)
	if err != nil {
		r.Miner.Error, r.Miner.Unnamed = err.Error(), errors.As(err, new(*repo.ErrNoRepo)) && !c.IsSet(flagMinerRepo)
		return err
	}
	defer n.Close()
	if r.Miner = part(c, n); r.Miner.Error != "" || !slices.Contains(r.Miner.Status.Subsystems, api.SubsystemSealing) {
		return nil
	}
	r.Sectors, err = n.SectorsSummary(c.Context)
	r.fail("sectors", err)
	r.Faults, err = n.SectorsFaults(c.Context)
	r.fail("faults", err)
	if m, err := n.MiningStatus(c.Context); err == nil {
		r.Mining = &m
	} else {
		r.fail("mining", err)
	}
	proving, err := n.ProvingStatus(c.Context)
	r.fail("proving", err)
	r.Alerts = proving.Alerts
	paths, err := n.StorageList(c.Context)
	r.fail("storage", err)
	for _, p := range paths {
		if note := pathNote(p); note != "" {
			r.Paths = append(r.Paths, fmt.Sprintf("%s: %s", p.ID, note))
		}
	}
	return nil
}

// askMarkets fills what the markets half knows. none is why there is no private one
// to ask.
func (r *infoReport) askMarkets(c *cli.Context, none error) error {
	c, cancel := within(c, halfLimit)
	defer cancel()
	named := marketsNamed(c)
	m, err := dialMarkets(c)
	switch {
	case err != nil && !named && errors.As(none, new(*repo.ErrNoRepo)):
		return none
	case err != nil && !named:
		return nil // it is the private node, which was asked
	case err != nil:
		r.Markets = &partReport{Error: err.Error()}
		return nil
	}
	defer m.Close()
	p := part(c, m)
	if p.Error == "" && !slices.Contains(p.Status.Subsystems, api.SubsystemMarkets) {
		r.Notes = append(r.Notes, "no markets process is named here; set MARKETS_PATH or MARKETS_API_INFO")
		return nil
	}
	if !named && p.Error != "" {
		return nil // it is the private node, which was asked
	}
	r.Markets = &p
	if p.Error == "" {
		r.countDeals(c, m)
	}
	return nil
}

func (r *infoReport) countDeals(c *cli.Context, m *client.MinerAPI) {
	count, err := countDeals(c, m)
	if err != nil {
		r.fail("deals", err)
		return
	}
	r.Deals = &count
	for q := (api.DealQuery{Retry: api.DealRetryManual, Failed: true}); ; {
		page, err := m.DealsQuery(c.Context, q)
		if err != nil {
			r.fail("deals", err)
			return
		}
		r.Stuck += len(page.Deals)
		if q.Cursor = page.Next; q.Cursor == "" {
			return
		}
	}
}

// sinceWhen asks each half since when it misses the other.
func (r *infoReport) sinceWhen() {
	if r.Markets == nil {
		return
	}
	if r.Miner.Error != "" {
		for _, p := range r.Markets.Status.Peers {
			if !p.Reachable {
				r.Miner.AwaySince = p.Since
			}
		}
	}
	if r.Markets.Error != "" {
		for _, p := range r.Miner.Status.Callers {
			if !p.Reachable {
				r.Markets.AwaySince = p.Since
			}
		}
	}
}

// nextTry says when a part that is down is started again.
func nextTry(p api.PartStatus) string {
	if p.Next.IsZero() {
		return ""
	}
	return fmt.Sprintf(" (started again %d times, next at %s)", p.Restarts, p.Next.UTC().Format(time.RFC3339))
}

// crossed says what cannot be of the two that answered.
func (r infoReport) crossed() (out []string) {
	runs := func(s api.Subsystem) bool { return slices.Contains(r.Miner.Status.Subsystems, s) }
	if r.Miner.Error == "" && runs(api.SubsystemMarkets) && !runs(api.SubsystemSealing) {
		out = append(out, "miner: a markets node is named as the private one; are MINER_PATH and MARKETS_PATH (or the API infos) crossed?")
	}
	if m := r.Markets; m != nil && m.Error == "" && r.Miner.Error == "" && m.Status.Miner != r.Miner.Status.Miner {
		out = append(out, fmt.Sprintf("markets: it is the markets node of %s, not of %s; name the two halves of one miner",
			m.Status.Miner, r.Miner.Status.Miner))
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
	printHalf(w, "miner", r.Miner)
	if r.Markets != nil && !r.sameProcess() {
		printHalf(w, "markets", *r.Markets)
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
	for _, p := range r.Paths {
		fmt.Fprintf(w, "path     %s\n", p)
	}
	if r.Deals != nil {
		fmt.Fprintf(w, "deals    %d\n", *r.Deals)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "note     %s\n", n)
	}
	for _, e := range r.Errors {
		fmt.Fprintf(w, "error    %s\n", e)
	}
	if len(r.Act) > 0 {
		fmt.Fprintln(w, "what to do:")
	}
	for i, a := range r.Act {
		fmt.Fprintf(w, "%4d. %s\n", i+1, a)
	}
}

func printHalf(w io.Writer, name string, p partReport) {
	if p.Unnamed {
		fmt.Fprintf(w, "%-8s not named here; set MINER_PATH or MINER_API_INFO to see it too\n", name)
		return
	}
	if p.Error != "" {
		since := ""
		if !p.AwaySince.IsZero() {
			since = ", away since " + p.AwaySince.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%-8s unreachable%s: %s\n", name, since, p.Error)
		return
	}
	fmt.Fprintf(w, "%-8s %s runs %v\n", name, p.Status.Miner, p.Status.Subsystems)
	for _, peer := range slices.Concat([]api.PeerStatus{p.Status.Chain}, p.Status.Peers, p.Status.Callers) {
		fmt.Fprintf(w, "         %s %s\n", peer.Name, peerWord(peer))
	}
	if p.Status.Link != nil {
		fmt.Fprintf(w, "         %s\n", linkLine(*p.Status.Link))
	}
	for _, m := range p.Status.Messages {
		fmt.Fprintf(w, "         message for %s waits (%s, nonce %d of %s): %s\n", m.Key, m.Cid, m.Nonce, m.From, m.Reason)
	}
	for _, part := range p.Status.Parts {
		if !part.Up {
			fmt.Fprintf(w, "         part %s is down since %s: %s%s\n", part.Name, part.Since.UTC().Format(time.RFC3339),
				part.Error, nextTry(part))
		}
	}
	for _, n := range p.Status.Notices {
		fmt.Fprintf(w, "         warning: %s\n", noticeText(n))
	}
}

func peerWord(p api.PeerStatus) string {
	switch {
	case !p.Reachable && p.Since.IsZero():
		return "unreachable: " + p.LastError
	case !p.Reachable:
		return "unreachable since " + p.Since.UTC().Format(time.RFC3339) + ": " + p.LastError
	case p.Warning != "":
		return "reachable, but " + p.Warning
	}
	return "reachable"
}

func noticeText(n api.Notice) string {
	if n.Do == "" {
		return n.Text
	}
	return n.Text + "; what to do: " + n.Do
}

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
