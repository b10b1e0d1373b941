package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/internal/paramcache"
	"quarry/mining"
	"quarry/node/config"
	"quarry/proofs/circuit"
	"quarry/proofs/snark"
	"quarry/sealing"
	"quarry/storage/worker"
)

// chooseForm settles which form of proof goes on chain, and finds the parameters
// where it is Groth16. It refuses before anything is spent: a proof that cannot
// be made later costs a deposit, or power. A process that neither seals nor
// proves has nothing to choose.
func (n *Node) chooseForm(ctx context.Context) error {
	if !n.set.Mining && !n.set.Sealing {
		return nil
	}
	if groth16, err := n.wantsGroth16(); err != nil || !groth16 {
		return err
	}
	cache, err := paramcache.New(paramcache.Config{Dir: n.set.ProvingOpts.ParameterDir, Devnet: n.devnet},
		paramcache.Deps{Log: n.log.With("part", "parameters")})
	if err != nil {
		return err
	}
	n.onClose("parameters", cache.Close)
	if n.set.Mining {
		names, err := n.needParameters(cache)
		if err != nil {
			return err
		}
		if err := n.openParameters(ctx, cache, names); err != nil {
			return err
		}
	}
	if n.set.Sealing {
		if err := n.needKey(ctx, cache); err != nil {
			return err
		}
	}
	n.snark = &snark.Prover{Keys: cache}
	n.log.Info("proofs go on chain as Groth16", "parameters", cache.Dir())
	return nil
}

// wantsGroth16 compares what the operator wants with what the network takes.
// Every network takes Groth16 proofs; an embedded devnet only with keys of its
// own, and it alone may take vanilla ones.
func (n *Node) wantsGroth16() (bool, error) {
	switch form := n.set.ProvingOpts.Form; form {
	case config.FormVanilla:
		if !n.vanilla {
			return false, &api.ErrUnsupportedProof{What: "vanilla proofs on this network",
				Hint: "set Form = \"auto\" or \"groth16\" under [Proving]"}
		}
		return false, nil
	case config.FormAuto, "":
		if n.vanilla {
			return false, nil
		}
	case config.FormGroth16:
	default:
		return false, &api.ErrInvalid{What: fmt.Sprintf("Form = %q under [Proving]", form), Reason: "there is no such form of proof",
			Hint: fmt.Sprintf("use %q, %q or %q", config.FormAuto, config.FormGroth16, config.FormVanilla)}
	}
	if n.devnet && !n.groth16 {
		return false, &api.ErrUnsupportedProof{What: "Groth16 proofs by the full node, which has no verifying keys",
			Hint: "generate them with `miner-worker params generate` where it runs, and start it again"}
	}
	return true, nil
}

// needKey looks for what checks a seal proof before it is sent. The parameters
// that make one are not asked for: that work may be done by other hosts.
func (n *Node) needKey(ctx context.Context, cache *paramcache.Cache) error {
	name, err := circuit.PoRepName(n.proof)
	if err != nil {
		return err
	}
	if _, err := cache.VerifyingKey(ctx, name); err != nil {
		return fmt.Errorf("the key that checks seal proofs: %w", err)
	}
	return nil
}

// Each part is handed nil, not an empty pointer, where vanilla proofs are sent.

func (n *Node) workerSnark() worker.Snark {
	if n.snark == nil {
		return nil
	}
	return n.snark
}

func (n *Node) miningSnark() mining.Snark {
	if n.snark == nil {
		return nil
	}
	return n.snark
}

func (n *Node) sealChecker() sealing.Verifier {
	if n.snark == nil {
		return nil
	}
	return snark.Checker{Keys: n.snark.Keys}
}

// openParameters has files checked that are new here, which for 61 GB takes a
// minute or more: before the first deadline instead of within it. What goes wrong
// is said again by the proof that needs the file.
func (n *Node) openParameters(ctx context.Context, cache *paramcache.Cache, names []string) error {
	return n.keep(ctx, "open parameters", func(ctx context.Context) error {
		for _, name := range names {
			if _, err := cache.Params(ctx, name); err != nil && ctx.Err() == nil {
				n.log.Error("proof parameters cannot be used", "name", name, "error", err)
			}
		}
		<-ctx.Done() // a part works until it is told to end
		return ctx.Err()
	})
}

// needParameters looks for what the proofs that are made here need, by name.
func (n *Node) needParameters(cache *paramcache.Cache) (names []string, err error) {
	winning, err := n.proof.RegisteredWinningPoStProof()
	if err != nil {
		return nil, err
	}
	window, err := n.proof.RegisteredWindowPoStProof()
	if err != nil {
		return nil, err
	}
	var missing []error
	for _, c := range []struct {
		what string
		off  bool
		kind abi.RegisteredPoStProof
		name func(abi.RegisteredPoStProof) (string, error)
	}{
		{"winning PoSt", n.set.ProvingOpts.NoBlocks, winning, circuit.WinningName},
		{"window PoSt", n.set.ProvingOpts.NoWindow, window, circuit.WindowName},
	} {
		if c.off {
			continue
		}
		name, err := c.name(c.kind)
		if err != nil {
			return nil, err
		}
		if err := cache.Need(name); err != nil {
			missing = append(missing, fmt.Errorf("%s: %w", c.what, err))
		}
		names = append(names, name)
	}
	return names, errors.Join(missing...)
}
