package node

import (
	"context"
	"errors"
	"strings"
	"time"

	"quarry/api"
	"quarry/node/repo"
)

// Limits of being ready.
const (
	storeLimit = 2 * time.Second // of one read of the store
	headEpochs = 10              // without a new head, before the chain counts as standing still
	headLeast  = 30 * time.Second
)

// ready is nil when this process can do its work: its store answers, the full node
// is the right one, answers and keeps up with its network, the other half answers,
// and every part runs. Strangers read the text: it names no host and no path.
func (n *Node) ready(ctx context.Context) error {
	var why []string
	add := func(s string) {
		if s != "" {
			why = append(why, s)
		}
	}
	add(n.storeTrouble(ctx))
	peers := n.common.peerList()
	if len(peers) == 0 {
		add("the full node is not connected yet")
	}
	for i, p := range peers {
		st := p.status()
		if !st.Reachable {
			add("the " + st.Name + nodeWord(i) + " is unreachable since " + st.Since.UTC().Format(time.RFC3339))
		} else if i == 0 {
			add(n.chainTrouble(time.Now()))
		}
	}
	for _, p := range n.common.parts() {
		if !p.Up {
			add("the part " + p.Name + " is down since " + p.Since.UTC().Format(time.RFC3339))
		}
	}
	if len(why) > 0 {
		return errors.New(strings.Join(why, "; "))
	}
	return nil
}

// nodeWord completes the name of a peer: the first is "full node" already.
func nodeWord(i int) string {
	if i == 0 {
		return ""
	}
	return " node"
}

func (n *Node) storeTrouble(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	got := make(chan error, 1) // a store on a disk that hangs does not heed ctx
	go func() {
		_, err := n.repo.Datastore(repo.Node).Has(ctx, minerKey)
		got <- err
	}()
	select {
	case err := <-got:
		if err != nil {
			return "the store of the repo cannot be read"
		}
		return ""
	case <-ctx.Done():
		return "the store of the repo does not answer"
	}
}

// chainTrouble is why the chain cannot be worked with, although the full node
// answers; empty where it can. An embedded devnet has made-up timestamps, so that
// only the arrival of heads tells whether it moves.
func (n *Node) chainTrouble(now time.Time) string {
	clock := n.clock.Load()
	if clock == nil {
		return "the full node has not told about the miner yet"
	}
	head, seen := n.heads.Head(), n.heads.Seen()
	if head == nil {
		return "no head of the chain has come yet"
	}
	return headTrouble(head, seen, now, clock)
}

func headTrouble(head *api.TipSet, seen, now time.Time, clock *epochs) string {
	limit := max(clock.span(headEpochs), headLeast)
	if now.Sub(seen) > limit {
		return "the chain stands still since " + seen.UTC().Format(time.RFC3339)
	}
	if clock.devnet || len(head.Blocks) == 0 {
		return ""
	}
	if made := time.Unix(int64(head.Blocks[0].Timestamp), 0); now.Sub(made) > limit {
		return "the full node is not synced: its head is of " + made.UTC().Format(time.RFC3339)
	}
	return ""
}

func (c *common) peerList() []*peerWatch {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peers
}
