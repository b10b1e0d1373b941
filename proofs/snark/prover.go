package snark

import (
	"context"

	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/kernel"
)

// Prover makes and checks proofs with the keys it was given; it is what the
// subsystems are handed. It is safe for several goroutines. Every proof takes all
// of Workers, but while a winning PoSt is made by any Prover of this process the
// others make do with a quarter, and while a window PoSt is, seal and update
// proofs do. Memory is not shared out: whoever calls it decides what runs side by side.
type Prover struct {
	Keys    Keys
	Workers int        // cores for one proof, 0 = all
	Kernel  kernel.Set // as in Options
}

// Seal is ProveSeal.
func (p Prover) Seal(ctx context.Context, info proof.SealVerifyInfo, vanilla []byte,
	progress func(stage string, done, total int64)) ([]byte, error) {
	return ProveSeal(ctx, p.Keys, info, vanilla, Options{Workers: p.Workers, Kernel: p.Kernel, Progress: progress})
}

// Update is ProveUpdate.
func (p Prover) Update(ctx context.Context, info proof.ReplicaUpdateInfo, vanilla []byte,
	progress func(stage string, done, total int64)) ([]byte, error) {
	return ProveUpdate(ctx, p.Keys, info, vanilla, Options{Workers: p.Workers, Kernel: p.Kernel, Progress: progress})
}

// Window is ProveWindow without progress: a partition takes seconds to minutes,
// and its deadline is what matters.
func (p Prover) Window(ctx context.Context, info proof.WindowPoStVerifyInfo, vanilla []byte) ([]byte, error) {
	return ProveWindow(ctx, p.Keys, info, vanilla, Options{Workers: p.Workers, Kernel: p.Kernel})
}

// Winning is ProveWinning without progress.
func (p Prover) Winning(ctx context.Context, info proof.WinningPoStVerifyInfo, vanilla []byte) ([]byte, error) {
	return ProveWinning(ctx, p.Keys, info, vanilla, Options{Workers: p.Workers, Kernel: p.Kernel})
}

// Checker checks proofs as the chain will, with the keys it was given.
type Checker struct{ Keys Keys }

// Seal is VerifySeal.
func (c Checker) Seal(ctx context.Context, info proof.SealVerifyInfo) (bool, error) {
	return VerifySeal(ctx, c.Keys, info)
}

// Update is VerifyUpdate.
func (c Checker) Update(ctx context.Context, info proof.ReplicaUpdateInfo) (bool, error) {
	return VerifyUpdate(ctx, c.Keys, info)
}
