package circuit

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/gadget"
	"quarry/proofs/merkle"
	"quarry/proofs/post"
	"quarry/proofs/r1cs"
)

// postSector is one sector of a PoSt circuit with some of its leaves.
type postSector struct {
	commR, commC, commRLast [32]byte
	openings                []merkle.Proof
}

// postCircuit shows, of each of its sectors, that leaves are in the replica that
// CommR commits to (storage-proofs-post/src/fallback/circuit.rs).
type postCircuit struct {
	kind    Kind
	sectors []postSector
	vanilla *vanilla
}

// Synthesize implements r1cs.Circuit.
func (c *postCircuit) Synthesize(ctx context.Context, cs r1cs.ConstraintSystem) error {
	if err := c.vanilla.check(ctx); err != nil {
		return err
	}
	b := gadget.New(cs)
	for i := range c.sectors {
		if err := stopped(ctx, c.kind); err != nil {
			return err
		}
		s := &c.sectors[i]
		commRLast, commC, commR := b.Node(&s.commRLast), b.Node(&s.commC), b.Node(&s.commR)
		b.Inputize(commR)
		b.Equal(commR, b.Poseidon(commC, commRLast))
		for j := range s.openings {
			p := &s.openings[j]
			b.Inclusion(gadget.ReplicaTree, p, b.Node(&p.Leaf), commRLast)
		}
	}
	return b.Err()
}

// BlankWinning is the circuit of a winning PoSt without a witness.
func BlankWinning(p abi.RegisteredPoStProof) (r1cs.Circuit, error) { return blankPoSt(p, KindWinning) }

// BlankWindow is the circuit of one partition of a window PoSt without a
// witness.
func BlankWindow(p abi.RegisteredPoStProof) (r1cs.Circuit, error) { return blankPoSt(p, KindWindow) }

func blankPoSt(p abi.RegisteredPoStProof, k Kind) (r1cs.Circuit, error) {
	s, err := postShapeOf(p, k)
	if err != nil {
		return nil, err
	}
	sector := postSector{openings: make([]merkle.Proof, s.challenges)}
	for i := range sector.openings {
		sector.openings[i] = blankProof(s.shape.PoseidonForm())
	}
	c := &postCircuit{kind: k, sectors: make([]postSector, s.sectors)}
	for i := range c.sectors {
		c.sectors[i] = sector
	}
	return c, nil
}

// Winning is the circuit of info filled from the vanilla proof that
// post.ProveWinning made. Synthesize fails with ErrVanilla when that does not
// verify.
func Winning(info proof.WinningPoStVerifyInfo, blob []byte) ([]r1cs.Circuit, error) {
	s, err := post.WinningStatement(info)
	if err != nil {
		return nil, fmt.Errorf("circuit: %w", err)
	}
	opened, err := s.DecodeProof(blob)
	if err != nil {
		return nil, fmt.Errorf("circuit: winning PoSt: %w", err)
	}
	v := &vanilla{kind: KindWinning, verify: func(ctx context.Context) (bool, error) {
		return post.VerifyWinning(ctx, info, blob)
	}}
	return postCircuits(winningShape(s.Shape), &s, opened, v), nil
}

// Window is the circuits of info, one for each partition, filled from the vanilla
// proof that post.ProveWindow made. Synthesize fails with ErrVanilla when that
// does not verify.
func Window(info proof.WindowPoStVerifyInfo, blob []byte) ([]r1cs.Circuit, error) {
	s, err := post.WindowStatement(info)
	if err != nil {
		return nil, fmt.Errorf("circuit: %w", err)
	}
	opened, err := s.DecodeProof(blob)
	if err != nil {
		return nil, fmt.Errorf("circuit: window PoSt: %w", err)
	}
	v := &vanilla{kind: KindWindow, verify: func(ctx context.Context) (bool, error) {
		return post.VerifyWindow(ctx, info, blob)
	}}
	return postCircuits(windowShape(s.Shape), &s, opened, v), nil
}

// postCircuits spreads openings over sectors of as many challenges as the circuit
// has, and those over circuits. The last circuit is filled up by repeating its
// last sector (filecoin-proofs src/api/post_util.rs).
func postCircuits(shape postShape, s *post.Statement, opened []post.Opened, v *vanilla) []r1cs.Circuit {
	var all []postSector
	for i := range opened {
		o := &opened[i]
		for rest := o.Openings; len(rest) > 0; rest = rest[shape.challenges:] {
			all = append(all, postSector{commR: s.Sectors[i].CommR, commC: o.CommC, commRLast: o.CommRLast,
				openings: rest[:shape.challenges]})
		}
	}
	var out []r1cs.Circuit
	for _, part := range partitions(all, shape.sectors) {
		out = append(out, &postCircuit{kind: v.kind, sectors: part, vanilla: v})
	}
	return out
}

// partitions cuts all into parts of n, the last filled up by repetition.
func partitions[T any](all []T, n int) (out [][]T) {
	for ; len(all) > n; all = all[n:] {
		out = append(out, all[:n:n])
	}
	last := append(make([]T, 0, n), all...)
	for len(last) < n {
		last = append(last, last[len(last)-1])
	}
	return append(out, last)
}

// WinningInputs are the public inputs of the winning PoSt of info, without One.
func WinningInputs(info proof.WinningPoStVerifyInfo) ([][]r1cs.Element, error) {
	s, err := post.WinningStatement(info)
	if err != nil {
		return nil, fmt.Errorf("circuit: %w", err)
	}
	return postInputs(winningShape(s.Shape), &s)
}

// WindowInputs are the public inputs of the window PoSt of info by partition,
// without One.
func WindowInputs(info proof.WindowPoStVerifyInfo) ([][]r1cs.Element, error) {
	s, err := post.WindowStatement(info)
	if err != nil {
		return nil, fmt.Errorf("circuit: %w", err)
	}
	return postInputs(windowShape(s.Shape), &s)
}

func postInputs(shape postShape, s *post.Statement) ([][]r1cs.Element, error) {
	var all []post.Claim
	for _, c := range s.Sectors {
		for rest := c.Leaves; len(rest) > 0; rest = rest[shape.challenges:] {
			all = append(all, post.Claim{CommR: c.CommR, Leaves: rest[:shape.challenges]})
		}
	}
	var out [][]r1cs.Element
	for _, part := range partitions(all, shape.sectors) {
		in := make([]r1cs.Element, 0, shape.sectors*(1+shape.challenges))
		for _, c := range part {
			commR, err := elements(c.CommR)
			if err != nil {
				return nil, err
			}
			in = append(in, commR...)
			for _, leaf := range c.Leaves {
				in = append(in, number(leaf))
			}
		}
		out = append(out, in)
	}
	return out, nil
}
