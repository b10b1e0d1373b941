package window

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/api"
)

// maxSectors bounds the sectors of a partition that are looked at (mainnet
// partitions hold 2349).
const maxSectors = 1 << 20

// part is one partition to prove.
type part struct {
	index uint64
	all   []uint64 // every sector the partition ever had, ascending
	prove []uint64 // live, and not faulty unless recovering
	again []uint64 // of these, recovering
}

// batch is what one message proves.
type batch []part

// name is the batch's name within its deadline: its partitions.
func (b batch) name() string {
	var out []string
	for _, p := range b {
		out = append(out, strconv.FormatUint(p.index, 10))
	}
	return strings.Join(out, ".")
}

func (b batch) indexes() []uint64 {
	var out []uint64
	for _, p := range b {
		out = append(out, p.index)
	}
	return out
}

// plan reads which partitions of a deadline still need a proof. The sectors of
// a deadline cannot change between its challenge and its close (actors miner,
// deadline_is_mutable), so this holds for the whole window.
func (s *Scheduler) plan(ctx context.Context, di *dline.Info) ([]batch, error) {
	head := s.deps.Heads.Head()
	parts, err := s.deps.Chain.StateMinerPartitions(ctx, s.cfg.Miner, di.Index, head.Key())
	if err != nil {
		return nil, fmt.Errorf("partitions of deadline %d: %w", di.Index, err)
	}
	if len(parts) == 0 {
		return nil, nil
	}
	posted, err := s.posted(ctx, di, head)
	if err != nil {
		return nil, err
	}
	var out []batch
	for i, p := range parts {
		if posted[uint64(i)] {
			continue
		}
		todo, err := readPart(uint64(i), p)
		if err != nil {
			return nil, fmt.Errorf("partition %d of deadline %d: %w", i, di.Index, err)
		}
		if len(todo.prove) == 0 {
			continue
		}
		if n := len(out); n == 0 || len(out[n-1]) >= s.cfg.MaxPartitions {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], todo)
	}
	return out, nil
}

// posted tells which partitions the chain already has a proof for. Before the
// deadline opens the record is that of the last period.
func (s *Scheduler) posted(ctx context.Context, di *dline.Info, head *api.TipSet) (map[uint64]bool, error) {
	if head.Height <= di.Open {
		return nil, nil
	}
	dls, err := s.deps.Chain.StateMinerDeadlines(ctx, s.cfg.Miner, head.Key())
	if err != nil {
		return nil, fmt.Errorf("deadlines: %w", err)
	}
	if di.Index >= uint64(len(dls)) {
		return nil, fmt.Errorf("the node lists %d deadlines, none with index %d", len(dls), di.Index)
	}
	return dls[di.Index].PostSubmissions.AllMap(maxSectors)
}

func readPart(index uint64, p api.Partition) (part, error) {
	good, err := bitfield.SubtractBitField(p.LiveSectors, p.FaultySectors)
	if err != nil {
		return part{}, err
	}
	// A sector terminated while recovering is not live any more.
	recovering, err := bitfield.IntersectBitField(p.RecoveringSectors, p.LiveSectors)
	if err != nil {
		return part{}, err
	}
	if good, err = bitfield.MergeBitFields(good, recovering); err != nil {
		return part{}, err
	}
	out := part{index: index}
	if out.all, err = p.AllSectors.All(maxSectors); err != nil {
		return part{}, err
	}
	if out.again, err = recovering.All(maxSectors); err != nil {
		return part{}, err
	}
	out.prove, err = good.All(maxSectors)
	return out, err
}

// infos fetches what the prover has to know of the batch's good sectors.
func (s *Scheduler) infos(ctx context.Context, b batch) (map[uint64]*miner.SectorOnChainInfo, error) {
	var numbers []uint64
	for _, p := range b {
		numbers = append(numbers, p.prove...)
	}
	return s.sectors(ctx, numbers)
}

func (s *Scheduler) sectors(ctx context.Context, numbers []uint64) (map[uint64]*miner.SectorOnChainInfo, error) {
	filter := bitfield.NewFromSet(numbers)
	list, err := s.deps.Chain.StateMinerSectors(ctx, s.cfg.Miner, &filter, s.deps.Heads.Head().Key())
	if err != nil {
		return nil, fmt.Errorf("sector infos: %w", err)
	}
	out := make(map[uint64]*miner.SectorOnChainInfo, len(list))
	for _, info := range list {
		out[uint64(info.SectorNumber)] = info
	}
	for _, n := range numbers {
		if out[n] == nil {
			return nil, fmt.Errorf("the node has no info of sector %d", n)
		}
	}
	return out, nil
}

// challenge lists the sectors in the order the chain will check them: all
// sectors of the batch ascending, each faulty, terminated or skipped one
// replaced by the lowest good one (actors miner, load_for_proof). Partitions
// without any good sector are left out; ok is false when none remains.
func challenge(b batch, skip map[uint64]bool, infos map[uint64]*miner.SectorOnChainInfo) (kept batch, list []proof.SectorInfo, ok bool) {
	good := map[uint64]bool{}
	var all []uint64
	for _, p := range b {
		any := false
		for _, n := range p.prove {
			if !skip[n] {
				good[n], any = true, true
			}
		}
		if any {
			kept = append(kept, p)
			all = append(all, p.all...)
		}
	}
	if len(kept) == 0 {
		return nil, nil, false
	}
	slices.Sort(all)
	first := all[slices.IndexFunc(all, func(n uint64) bool { return good[n] })]
	for _, n := range all {
		if !good[n] {
			n = first
		}
		info := infos[n]
		list = append(list, proof.SectorInfo{SealProof: info.SealProof, SectorNumber: abi.SectorNumber(n), SealedCID: info.SealedCID})
	}
	return kept, list, true
}

// skipped is the part of the skip set that belongs to a partition.
func (p part) skipped(skip map[uint64]bool) []uint64 {
	var out []uint64
	for _, n := range p.prove {
		if skip[n] {
			out = append(out, n)
		}
	}
	return out
}
