package main

import (
	"fmt"
	"time"

	"quarry/api"
)

// todo is what waits for the operator, the most urgent first: what costs power,
// then what costs deals. What heals by itself is not in it.
func (r infoReport) todo() (out []string) {
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if r.Miner.Error != "" && !r.Miner.Unnamed {
		add("start the private node (`miner run`), or name the one that runs with --%s or MINER_API_INFO: %s", flagMinerRepo, r.Miner.Error)
	}
	if r.Markets != nil && r.Markets.Error != "" {
		add("start the markets node, or name the one that runs with --%s or MARKETS_API_INFO: %s", flagMarketsRepo, r.Markets.Error)
	}
	out = append(out, r.crossed()...)
	for _, a := range r.Alerts {
		add("window PoSt: %s", a)
	}
	if n := unrecovered(r.Faults); n > 0 {
		add("%s faulty: `miner proving faults` says why and what to do", are(n, "sector"))
	}
	for _, p := range r.Paths {
		add("storage path %s", p)
	}
	out = append(out, r.Miner.todo("miner")...)
	if r.Markets != nil && !r.sameProcess() {
		out = append(out, r.Markets.todo("markets")...)
	}
	if r.Stuck > 0 {
		add("%s waiting for you: `miner storage-deals list` says for what, `miner storage-deals retry` goes on", are(r.Stuck, "deal"))
	}
	return out
}

// sameProcess tells whether both halves are one process, so that nothing is said
// twice.
func (r infoReport) sameProcess() bool {
	return r.Miner.Error == "" && r.Miner.Status.StartedAt.Equal(r.Markets.Status.StartedAt) && !r.Miner.Status.StartedAt.IsZero()
}

func unrecovered(faults []api.ChainFault) (n int) {
	for _, f := range faults {
		if !f.Recovering {
			n++
		}
	}
	return n
}

func are(n int, what string) string {
	if n == 1 {
		return "1 " + what + " is"
	}
	return fmt.Sprintf("%d %ss are", n, what)
}

// todo is what one process says that its operator must do.
func (p partReport) todo(name string) (out []string) {
	if p.Error != "" {
		return nil
	}
	add := func(format string, args ...any) { out = append(out, name+": "+fmt.Sprintf(format, args...)) }
	for i, peer := range append([]api.PeerStatus{p.Status.Chain}, p.Status.Peers...) {
		if !peer.Reachable {
			add("let it reach the %s again: %s", peerName(i, peer), peer.LastError)
		}
	}
	for _, c := range p.Status.Callers {
		if !c.Reachable {
			add("the %s node is away since %s: start it", c.Name, c.Since.UTC().Format(time.RFC3339))
		}
	}
	for _, part := range p.Status.Parts {
		if !part.Up {
			add("part %s: %s", part.Name, part.Error)
		}
	}
	for _, m := range p.Status.Messages {
		add("message for %s: %s", m.Key, m.Reason)
	}
	for _, n := range p.Status.Notices {
		if n.Act {
			add("%s", noticeText(n))
		}
	}
	return out
}

// peerName names a peer: the first is the full node, the others are halves.
func peerName(i int, p api.PeerStatus) string {
	if i == 0 {
		return "full node"
	}
	return p.Name + " node"
}
