package update

import (
	"context"
	"errors"
	"fmt"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/commp"
	"quarry/proofs/merkle"
	"quarry/proofs/poseidon"
)

// Verify decides whether blob, as Prove makes it, proves the update that info
// describes; info.Proof is ignored. It hashes every path up again and checks
// that the apex leaves are where they belong.
//
// false, nil means that blob or info is wrong; an error means that nothing was
// decided: an unknown update proof, or ctx ended. It never panics, whatever the
// bytes.
func Verify(ctx context.Context, info proof.ReplicaUpdateInfo, blob []byte) (bool, error) {
	par, err := paramsFor(info.UpdateProofType)
	if err != nil {
		return false, err
	}
	old, data, err := commitments(info.OldSealedSectorCID, info.NewUnsealedSectorCID)
	if err != nil {
		return false, nil
	}
	fresh, err := commcid.CIDToReplicaCommitmentV1(info.NewSealedSectorCID)
	if err != nil || len(fresh) != 32 {
		return false, nil
	}
	parts, err := par.unmarshal(blob)
	if err != nil {
		return false, nil
	}
	switch err := par.check(ctx, parts, old, [32]byte(fresh), data); {
	case err == nil:
		return true, nil
	case errors.Is(err, errWrong):
		return false, nil
	default:
		return false, err
	}
}

// errWrong is the cause of every rejection by check.
var errWrong = errors.New("the update proof is wrong")

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errWrong, fmt.Sprintf(format, args...))
}

func (par *params) check(ctx context.Context, parts []partition, commROld, commRNew, commDNew [32]byte) error {
	if len(parts) != par.partitions {
		return wrong("%d partitions, not %d", len(parts), par.partitions)
	}
	rhos, err := par.rhos(commDNew, commROld)
	if err != nil {
		return wrong("%v", err)
	}
	first := &parts[0]
	commC, rootOld, rootNew := first.CommC, first.Openings[0].Old.Root, first.Openings[0].New.Root
	if got, err := merkle.HashNodes(commC, rootOld); err != nil || got != commROld {
		return wrong("its tree roots do not give the old CommR")
	}
	if got, err := merkle.HashNodes(commC, rootNew); err != nil || got != commRNew {
		return wrong("its tree roots do not give the new CommR")
	}
	d, r := par.forms()
	r = r.Remembering()
	for k := range parts {
		p := &parts[k]
		leaves, err := par.leaves(commRNew, k)
		if err != nil {
			return wrong("%v", err)
		}
		if p.CommC != commC || len(p.Apex) != par.apex || len(p.Openings) != len(leaves) {
			return wrong("partition %d has another form or CommC", k)
		}
		for i, leaf := range leaves {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("update: verification stopped: %w", err)
			}
			o := &p.Openings[i]
			if o.Old.Root != rootOld || o.New.Root != rootNew || o.Data.Root != commDNew {
				return wrong("challenge %d of partition %d has other roots", i, k)
			}
			if err := checkOpening(o, leaf, par.rho(rhos, leaf), d, r); err != nil {
				return wrong("challenge %d of partition %d: %v", i, k, err)
			}
			if err := par.checkApex(p.Apex, &o.Data, leaf); err != nil {
				return wrong("challenge %d of partition %d: %v", i, k, err)
			}
		}
	}
	return nil
}

func checkOpening(o *opening, leaf uint64, rho *poseidon.Element, d, r merkle.Form) error {
	if err := errors.Join(r.Check(&o.Old, leaf), d.Check(&o.Data, leaf), r.Check(&o.New, leaf)); err != nil {
		return err
	}
	old, err1 := poseidon.Decode(&o.Old.Leaf)
	data, err2 := poseidon.Decode(&o.Data.Leaf)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	data.Mul(&data, rho)
	old.Add(&old, &data)
	if poseidon.Encode(old) != o.New.Leaf {
		return errors.New("the new node is not the old one plus data times rho")
	}
	return nil
}

// checkApex checks that the path of leaf, which has been verified up to CommD,
// goes through the apex leaves at the right place and through their root.
func (par *params) checkApex(apex [][32]byte, p *merkle.Proof, leaf uint64) error {
	acc, row := p.Leaf, 0
	climb := func(to int) {
		for ; row < to; row++ {
			s := &p.Base[row]
			if s.Index == 0 {
				acc = commp.HashPair(&acc, &s.Hashes[0])
			} else {
				acc = commp.HashPair(&s.Hashes[0], &acc)
			}
		}
	}
	climb(par.apexRow())
	if apex[leaf>>par.apexRow()%uint64(len(apex))] != acc {
		return errors.New("its path misses the apex leaves")
	}
	rows := apex
	for len(rows) > 1 {
		up := make([][32]byte, len(rows)/2)
		for i := range up {
			up[i] = commp.HashPair(&rows[2*i], &rows[2*i+1])
		}
		rows = up
	}
	climb(par.log2 - par.partitionBits())
	if rows[0] != acc {
		return errors.New("the apex leaves have another root")
	}
	return nil
}
