package porep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/filecoin-project/go-state-types/abi"
	"golang.org/x/sync/errgroup"

	"quarry/proofs/merkle"
	"quarry/proofs/sdr"
)

// StageSynthetic is reported by Synthesize, in proofs.
const StageSynthetic = "synthetic proofs"

// Synthetic tells whether sectors of this seal proof need Synthesize.
func Synthetic(proof abi.RegisteredSealProof) bool {
	par, err := paramsFor(proof)
	return err == nil && par.feature == synthetic
}

// SynthesizeTask is a sector to make the synthetic proofs of.
type SynthesizeTask struct {
	Sector Sector // of a synthetic seal proof
	// Ticket is that of the first phase, 32 bytes.
	Ticket abi.SealRandomness
	// Commitments are what PreCommit2 gave.
	Commitments
	// Sealed is the replica that PreCommit2 wrote.
	Sealed io.ReaderAt
	// Cache has the layers and trees of both phases, and takes the proofs.
	Cache Files
}

// Synthesize makes the proofs of all synthetic challenges of a sector (FIP-0059)
// and writes them to its cache: 2^18 of them, 11,205,083,232 bytes, for 32 GiB.
// After it ClearCache may drop the layers, tree-c and tree-d before the seed is
// known; Prove then selects from the file. Every proof is verified before it is
// written. The header goes in last, after everything else is synced, so that an
// interrupted file is never taken for a finished one. Other seal proofs are
// refused.
func Synthesize(ctx context.Context, t SynthesizeTask, p Progress) error {
	par, err := t.Sector.paramsWith(t.Ticket)
	if err != nil {
		return err
	}
	if par.feature != synthetic {
		return fmt.Errorf("porep: %s has no synthetic proofs; only synthetic seal proofs have", t.Sector)
	}
	id := par.replicaID(t.Sector, [32]byte(t.Ticket), t.CommD)
	if err := par.synthesize(ctx, id, &t, p); err != nil {
		return fmt.Errorf("porep: synthetic proofs of %s: %w", t.Sector, err)
	}
	return nil
}

func (par *params) synthesize(ctx context.Context, id [32]byte, t *SynthesizeTask, p Progress) error {
	if t.CommR == ([32]byte{}) || t.CommD == ([32]byte{}) {
		return errZero
	}
	o, err := par.open(t.Sealed, t.Cache)
	if err != nil {
		return err
	}
	defer o.close()
	c := &checker{
		par:       par,
		f:         par.forms(),
		graph:     o.graph,
		id:        id,
		commD:     t.CommD,
		commC:     t.CommC,
		commRLast: t.CommRLast,
	}
	if got, err := merkle.HashNodes(c.commC, c.commRLast); err != nil || got != t.CommR {
		return errors.New("CommC and CommRLast do not give CommR; they belong to another seal")
	}
	if err := t.Cache.Remove(synthName); err != nil {
		return fmt.Errorf("removing an earlier %s: %w", synthName, err)
	}
	f, err := t.Cache.Create(synthName, par.synthFileSize())
	if err != nil {
		return fmt.Errorf("creating %s: %w", synthName, err)
	}
	if err = par.writeSynth(ctx, o, c, newSynthSet(par.nodes, id, t.CommR), f, p); err == nil {
		if err = f.Sync(); err == nil {
			_, err = f.WriteAt((&synthRoots{d: t.CommD, c: t.CommC, r: t.CommRLast}).bytes(), 0)
		}
	}
	return closeSynced(f, synthName, err)
}

// synthBatch is how many synthetic proofs are written at a time.
const synthBatch = 64

// writeSynth opens, checks and writes all proofs on all CPUs.
func (par *params) writeSynth(ctx context.Context, o *opener, c *checker, set synthSet, f io.WriterAt, p Progress) error {
	count, size := par.synthTotal, par.synthSize()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	var mu sync.Mutex
	var done int64
	for first := uint64(0); first < count; first += synthBatch {
		g.Go(func() error {
			n := min(synthBatch, count-first)
			b := make([]byte, 0, int(n)*size)
			for i := first; i < first+n; i++ {
				if err := ctx.Err(); err != nil {
					return err
				}
				var proof challengeProof
				node := set.at(i)
				if err := o.challenge(ctx, &proof, node); err != nil {
					return fmt.Errorf("node %d: %w", node, err)
				}
				if err := c.challenge(&proof, node); err != nil {
					return fmt.Errorf("node %d: the proof made does not verify, so the sealed file or its cache is damaged: %w", node, err)
				}
				b = appendSynth(b, node, &proof)
			}
			if _, err := f.WriteAt(b, synthHeader+int64(first)*int64(size)); err != nil {
				return fmt.Errorf("writing %s: %w", synthName, err)
			}
			mu.Lock()
			defer mu.Unlock()
			done += int64(n)
			p.report(StageSynthetic, done, int64(count))
			return nil
		})
	}
	return g.Wait()
}

// synthPart reads the proofs of partition k that the seed of v selects.
func (par *params) synthPart(ctx context.Context, g *sdr.Graph, f io.ReaderAt, v *vanilla, roots *synthRoots,
	k int) ([]challengeProof, error) {
	set := newSynthSet(par.nodes, v.ReplicaID, v.CommR)
	picked := synthIndexes(par.synthTotal, v.ReplicaID, v.Seed, k*par.perPartition, par.perPartition)
	part, b := make([]challengeProof, len(picked)), make([]byte, par.synthSize())
	for i, x := range picked {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := merkle.ReadFullAt(f, b, synthHeader+int64(x)*int64(len(b))); err != nil {
			return nil, fmt.Errorf("reading synthetic proof %d: %w", x, err)
		}
		var err error
		if part[i], err = par.parseSynth(g, b, set.at(uint64(x)), roots); err != nil {
			return nil, fmt.Errorf("synthetic proof %d: %w", x, err)
		}
	}
	return part, nil
}

// proveSynth makes all partitions of v out of the file of synthetic proofs.
func (par *params) proveSynth(ctx context.Context, v *vanilla, com Commitments, cache Files) error {
	f, err := openSized(cache, synthName, par.synthFileSize())
	if err != nil {
		return err
	}
	defer closeAll([]File{f})
	g, err := par.graph()
	if err != nil {
		return err
	}
	var header [synthHeader]byte
	if err := merkle.ReadFullAt(f, header[:], 0); err != nil {
		return fmt.Errorf("reading %s: %w", synthName, err)
	}
	roots := synthRoots{d: [32]byte(header[:]), c: [32]byte(header[32:]), r: [32]byte(header[64:])}
	if roots != (synthRoots{d: com.CommD, c: com.CommC, r: com.CommRLast}) {
		return fmt.Errorf("%w: its roots are not those of the sector; make it again while the layers are there", errSynth)
	}
	for k := range par.partitions {
		part, err := par.synthPart(ctx, g, f, v, &roots, k)
		if err != nil {
			return err
		}
		v.Partitions = append(v.Partitions, part)
	}
	return nil
}

// ClearSynthetic removes the file of synthetic proofs. It is for sectors whose
// proof has landed on chain: together with the layers it is the only way to
// Prove. It may be repeated; sectors without the file are no error.
func ClearSynthetic(cache Files) error {
	if err := cache.Remove(synthName); err != nil {
		return fmt.Errorf("porep: removing %s from the cache: %w", synthName, err)
	}
	return nil
}
