package devnet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/api"
	"quarry/proofs/envelope"
	"quarry/proofs/post"
)

// genesisMiner makes blocks and window proofs for the pre-sealed sectors, by
// the same calls and rules as any miner.
type genesisMiner struct {
	n       *Node
	id      abi.ActorID
	sectors map[abi.SectorNumber]post.SectorAccess
	files   []*os.File

	prep     sync.Mutex
	ready    *prepared
	readyFor abi.ChainEpoch

	mu     sync.Mutex
	posted abi.ChainEpoch // opening epoch of the last deadline handled
	// looked is when faulty sectors were last looked for. Owned by whoever drives the
	// miner: run, or a warp, during which run rests.
	looked abi.ChainEpoch
	mended map[[2]uint64]abi.ChainEpoch // by deadline and partition: when recoveries were declared
}

func openGenesisMiner(n *Node, dir string) (*genesisMiner, error) {
	id, err := address.IDFromAddress(n.params.Miner)
	if err != nil {
		return nil, fmt.Errorf("genesis miner address: %w", err)
	}
	g := &genesisMiner{
		n:       n,
		id:      abi.ActorID(id),
		sectors: map[abi.SectorNumber]post.SectorAccess{},
		posted:  -1,
		mended:  map[[2]uint64]abi.ChainEpoch{},
	}
	if !n.cfg.Mine {
		return g, nil
	}
	for _, s := range n.params.Sectors {
		at := filepath.Join(dir, api.SectorName(abi.SectorID{Miner: g.id, Number: s.Number}))
		f, err := os.Open(filepath.Join(at, sealedName))
		if err != nil {
			g.close()
			return nil, fmt.Errorf("open genesis sector %d (was the repo copied whole?): %w", s.Number, err)
		}
		g.files = append(g.files, f)
		g.sectors[s.Number] = post.SectorAccess{Sealed: f, Cache: dirFiles(filepath.Join(at, cacheName)),
			Info: proof.SectorInfo{SealProof: n.params.SealProof, SectorNumber: s.Number, SealedCID: s.SealedCID}}
	}
	return g, nil
}

func (g *genesisMiner) close() {
	for _, f := range g.files {
		_ = f.Close()
	}
}

// Close releases the genesis sector files. Run must have returned.
func (n *Node) Close() error {
	n.genesis.close()
	return nil
}

// prepared is a won election, waiting for messages.
type prepared struct {
	base api.TipSetKey
	t    *api.BlockTemplate // nil when the epoch was not won
}

// prepare tries the epoch on top of base: election, ticket and winning proof.
// It runs when the epoch opens, so that the slow part is done when it closes.
func (g *genesisMiner) prepare(ctx context.Context, base *api.TipSet, epoch abi.ChainEpoch) (*api.BlockTemplate, error) {
	g.prep.Lock()
	defer g.prep.Unlock()
	if p := g.ready; p != nil && p.base.Equal(base.Key()) && g.readyFor == epoch {
		return p.t, nil
	}
	t, err := g.elect(ctx, base, epoch)
	if err != nil {
		return nil, err
	}
	g.ready, g.readyFor = &prepared{base.Key(), t}, epoch
	return t, nil
}

func (g *genesisMiner) elect(ctx context.Context, base *api.TipSet, epoch abi.ChainEpoch) (*api.BlockTemplate, error) {
	n := g.n
	info, err := n.cons.baseInfo(ctx, n.params.Miner, epoch, base)
	if err != nil || info == nil || !info.EligibleForMining {
		return nil, err
	}
	rbase := info.BeaconEntries[len(info.BeaconEntries)-1]
	in, err := electionInput(rbase, n.params.Miner, epoch)
	if err != nil {
		return nil, err
	}
	vrf, err := n.wallet.Sign(ctx, info.WorkerKey, in)
	if err != nil {
		return nil, fmt.Errorf("election proof: %w", err)
	}
	wins := winCount(vrf.Data, info.MinerPower, info.NetworkPower)
	if wins < 1 {
		return nil, nil
	}
	if in, err = ticketInput(rbase, n.params.Miner, epoch, base); err != nil {
		return nil, err
	}
	ticket, err := n.wallet.Sign(ctx, info.WorkerKey, in)
	if err != nil {
		return nil, fmt.Errorf("ticket: %w", err)
	}
	wp, err := g.winning(ctx, rbase, epoch, info.Sectors)
	if err != nil {
		return nil, err
	}
	return &api.BlockTemplate{
		Miner:            n.params.Miner,
		Parents:          base.Key(),
		Ticket:           &api.Ticket{VRFProof: ticket.Data},
		Eproof:           &api.ElectionProof{WinCount: wins, VRFProof: vrf.Data},
		BeaconValues:     info.BeaconEntries,
		Epoch:            epoch,
		Timestamp:        base.MinTimestamp() + uint64(epoch-base.Height),
		WinningPoStProof: wp,
	}, nil
}

// attempt makes the block of the epoch, when it is won, a candidate. The caller
// holds tick.
func (g *genesisMiner) attempt(ctx context.Context, base *api.TipSet, epoch abi.ChainEpoch) error {
	n := g.n
	t, err := g.prepare(ctx, base, epoch)
	if err != nil || t == nil {
		return err
	}
	o, err := n.exec.after(ctx, base)
	if err != nil {
		return err
	}
	fee, err := n.baseFee(ctx, base)
	if err != nil {
		return err
	}
	tmpl := *t
	if tmpl.Messages, err = n.selectMessages(ctx, o.State, fee); err != nil {
		return err
	}
	bm, err := n.MinerCreateBlock(ctx, &tmpl)
	if err != nil {
		return err
	}
	// Its own block needs no second look: every part was computed here from the
	// parents just now. Tests validate such blocks in full.
	return n.accept(ctx, bm.Header)
}

func (g *genesisMiner) winning(
	ctx context.Context, rbase api.BeaconEntry, epoch abi.ChainEpoch, sectors []proof.ExtendedSectorInfo,
) ([]proof.PoStProof, error) {
	rand, err := winningRandomness(rbase, g.n.params.Miner, epoch)
	if err != nil {
		return nil, err
	}
	var acc []post.SectorAccess
	for _, s := range sectors {
		a, ok := g.sectors[s.SectorNumber]
		if !ok {
			return nil, fmt.Errorf("winning PoSt: sector %d is not a genesis sector", s.SectorNumber)
		}
		acc = append(acc, a)
	}
	blob, err := post.ProveWinning(ctx, g.id, rand, acc)
	if err != nil {
		return nil, fmt.Errorf("winning PoSt: %w", err)
	}
	field, c := envelope.Wrap(blob)
	if err := g.n.blocks.Put(ctx, c, blob); err != nil {
		return nil, err
	}
	wpt, err := g.n.params.SealProof.RegisteredWinningPoStProof()
	if err != nil {
		return nil, err
	}
	return []proof.PoStProof{{PoStProof: wpt, ProofBytes: field}}, nil
}
