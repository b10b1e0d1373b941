package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/circuit"
	"quarry/proofs/porep"
	"quarry/proofs/post"
	"quarry/proofs/snark"
)

// SnarkRun is one Groth16 proof, made and checked.
type SnarkRun struct {
	Kind    string  `json:"kind"` // seal, winning, window or update
	Name    string  `json:"parameters"`
	Phases  []Phase `json:"phases"` // parameters, prove, verify
	Proof   int     `json:"proof_bytes"`
	Vanilla int     `json:"vanilla_bytes"`
}

// SnarkReport is what Groth16 measured.
type SnarkReport struct {
	SectorSize uint64     `json:"sector_size"`
	Runs       []SnarkRun `json:"runs"`
}

// Phases of Groth16.
const (
	PhaseParams = "load parameters"
	PhaseProve  = "prove" // vanilla proof to witness to proof, and its own check
)

// ParameterName is the name of the parameters of a kind of proof of sectors of a
// size.
func ParameterName(kind string, size abi.SectorSize) (string, error) {
	p, err := SealProofOf(size)
	if err != nil {
		return "", err
	}
	winning, window, err := postProofs(p)
	if err != nil {
		return "", err
	}
	switch kind {
	case KindSeal:
		return circuit.PoRepName(p)
	case KindWinning:
		return circuit.WinningName(winning)
	case KindWindow:
		return circuit.WindowName(window)
	case KindUpdate:
		u, err := p.RegisteredUpdateProof()
		if err != nil {
			return "", err
		}
		return circuit.UpdateName(u)
	default:
		return "", fmt.Errorf("no kind of proof %q; there are %s, %s, %s and %s", kind, KindSeal, KindWinning, KindWindow, KindUpdate)
	}
}

// CloseKeys are keys that give up what they handed out when closed.
type CloseKeys interface {
	snark.Keys
	Close() error
}

// Groth16 seals a sector in dir and makes the Groth16 proofs of kinds of it. It
// leaves a statement for Check beside each. open is called for each kind, so that
// the memory of one does not count for the next.
func Groth16(ctx context.Context, size abi.SectorSize, kinds []string, dir string, open func() (CloseKeys, error),
	deps Deps) (r SnarkReport, err error) {
	for _, k := range kinds {
		if _, err := ParameterName(k, size); err != nil {
			return r, err
		}
	}
	sector, err := sealReady(ctx, size, dir, deps)
	if err != nil {
		return r, fmt.Errorf("sealing a sector to prove: %w", err)
	}
	defer sector.close()
	r.SectorSize = uint64(size)
	for _, k := range kinds {
		job, err := sector.job(ctx, k)
		if err != nil {
			return r, fmt.Errorf("%s: vanilla proof: %w", k, err)
		}
		run, err := job.runWith(ctx, open, dir)
		if err != nil {
			return r, fmt.Errorf("%s: %w", k, err)
		}
		r.Runs = append(r.Runs, run)
	}
	return r, nil
}

// job is one proof to be made.
type job struct {
	kind, name string
	deps       Deps
	vanilla    []byte
	info       any
	prove      func(ctx context.Context, keys snark.Keys, o snark.Options) ([]byte, error)
}

// job makes the vanilla proof of a kind.
func (r *ready) job(ctx context.Context, kind string) (j job, err error) {
	j = job{kind: kind, deps: r.deps}
	if j.name, err = ParameterName(kind, r.in.Way.Size); err != nil {
		return j, err
	}
	switch kind {
	case KindSeal:
		err = r.sealJob(ctx, &j)
	case KindUpdate:
		err = r.updateJob(ctx, &j)
	default:
		err = r.postJob(ctx, &j)
	}
	return j, err
}

func (r *ready) sealJob(ctx context.Context, j *job) (err error) {
	if j.vanilla, err = porep.Prove(ctx, r.sector, r.req, r.sealed, r.cache); err != nil {
		return err
	}
	j.info = r.sealInfo
	j.prove = func(ctx context.Context, keys snark.Keys, o snark.Options) ([]byte, error) {
		return snark.ProveSeal(ctx, keys, r.sealInfo, j.vanilla, o)
	}
	return nil
}

func (r *ready) updateJob(ctx context.Context, j *job) error {
	info, vanilla, err := r.updated(ctx)
	if err != nil {
		return err
	}
	j.vanilla, j.info = vanilla, info
	j.prove = func(ctx context.Context, keys snark.Keys, o snark.Options) ([]byte, error) {
		return snark.ProveUpdate(ctx, keys, info, vanilla, o)
	}
	return nil
}

func (r *ready) postJob(ctx context.Context, j *job) error {
	winning, window, err := postProofs(r.proof)
	if err != nil {
		return err
	}
	one := r.access(1, r.sealed, r.cache)
	if j.kind == KindWinning {
		info := r.winningInfo(winning, draw())
		j.info = info
		j.prove = func(ctx context.Context, keys snark.Keys, o snark.Options) ([]byte, error) {
			return snark.ProveWinning(ctx, keys, info, j.vanilla, o)
		}
		j.vanilla, err = post.ProveWinning(ctx, r.miner, draw(), one)
		return err
	}
	info := r.windowInfo(window, draw(), 1)
	j.info = info
	j.prove = func(ctx context.Context, keys snark.Keys, o snark.Options) ([]byte, error) {
		return snark.ProveWindow(ctx, keys, info, j.vanilla, o)
	}
	vanilla, faults, err := post.FindFaults(ctx, r.miner, draw(), one)
	if err == nil && len(faults) > 0 {
		err = faults[0]
	}
	j.vanilla = vanilla
	return err
}

func (j *job) runWith(ctx context.Context, open func() (CloseKeys, error), dir string) (run SnarkRun, err error) {
	keys, err := open()
	if err != nil {
		return run, err
	}
	defer func() { err = errors.Join(err, keys.Close()) }()
	return j.run(ctx, keys, dir)
}

func (j *job) run(ctx context.Context, keys snark.Keys, dir string) (run SnarkRun, err error) {
	run = SnarkRun{Kind: j.kind, Name: j.name, Vanilla: len(j.vanilla)}
	rec := Recorder{Began: func(name string) { j.deps.step(j.kind+": "+name, 0, 0) }}
	if err := rec.Do(ctx, PhaseParams, func(ctx context.Context) error {
		if _, err := keys.Params(ctx, j.name); err != nil {
			return err
		}
		_, err := keys.VerifyingKey(ctx, j.name)
		return err
	}); err != nil {
		return run, err
	}
	var blob []byte
	if err := rec.Do(ctx, PhaseProve, func(ctx context.Context) error {
		blob, err = j.prove(ctx, keys, snark.Options{Progress: func(stage string, done, total int64) {
			j.deps.step(j.kind+": "+stage, done, total)
		}})
		return err
	}); err != nil {
		return run, err
	}
	st, err := newStatement(j.kind, FormGroth16, j.info, blob)
	if err != nil {
		return run, err
	}
	if err := rec.Do(ctx, PhaseVerify, func(ctx context.Context) error {
		ok, err := st.Check(ctx, keys)
		if err == nil && !ok {
			err = errors.New("the proof just made does not verify")
		}
		return err
	}); err != nil {
		return run, err
	}
	run.Phases, run.Proof = rec.Phases, len(blob)
	return run, j.leave(st, dir)
}

// leave writes the statements of both forms.
func (j *job) leave(groth16 Statement, dir string) error {
	vanilla, err := newStatement(j.kind, FormVanilla, j.info, j.vanilla)
	if err != nil {
		return err
	}
	return errors.Join(groth16.writeTo(filepath.Join(dir, j.kind+"-groth16.json")),
		vanilla.writeTo(filepath.Join(dir, j.kind+"-vanilla.json")))
}
