package node

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// epochSource is what tells about the epochs of a network.
type epochSource interface {
	StateGetNetworkParams(ctx context.Context) (*api.NetworkParams, error)
	DevnetStatus(ctx context.Context) (api.NodeStatusDevnet, error)
}

// epochs knows how long an epoch of the network lasts on the clock. Nothing of it
// is compiled in: a real network names its block delay, an embedded devnet its
// pace, which may be changed while it runs.
type epochs struct {
	source     epochSource
	devnet     bool
	proofKinds []string     // of a devnet
	length     atomic.Int64 // nanoseconds; 0: a devnet that goes as fast as it can
}

// learnEpochs asks the full node. Errors: api.ErrUnreachable when it is away;
// api.ErrInvalid when it names no block delay.
func learnEpochs(ctx context.Context, source epochSource) (*epochs, error) {
	e := &epochs{source: source}
	st, err := source.DevnetStatus(ctx)
	if err == nil {
		e.devnet, e.proofKinds = true, st.ProofKinds
		e.length.Store(st.PaceMillis * int64(time.Millisecond))
		return e, nil
	}
	if isUnreachable(err) {
		return nil, err
	}
	params, perr := source.StateGetNetworkParams(ctx)
	if perr != nil {
		return nil, errors.Join(fmt.Errorf("length of an epoch: %w", perr), fmt.Errorf("nor is it an embedded devnet: %w", err))
	}
	if params == nil || params.BlockDelaySecs == 0 || params.BlockDelaySecs > 3600 {
		return nil, &api.ErrInvalid{What: "block delay of the network", Reason: "the full node names none between 1 s and 1 h",
			Hint: "ask it with StateGetNetworkParams; it must answer BlockDelaySecs"}
	}
	e.length.Store(int64(params.BlockDelaySecs) * int64(time.Second))
	return e, nil
}

// span is how long a number of epochs takes on the clock.
func (e *epochs) span(n abi.ChainEpoch) time.Duration {
	return time.Duration(n) * time.Duration(e.length.Load())
}

// spanOf is span as it is when it is asked for: the pace of a devnet may change.
func (e *epochs) spanOf(n abi.ChainEpoch) func() time.Duration {
	return func() time.Duration { return e.span(n) }
}

// paceEvery is how often the pace of a devnet is asked for.
const paceEvery = 10 * time.Second

// follow keeps the length of an epoch true until ctx ends. A node that does not
// answer changes nothing.
func (e *epochs) follow(ctx context.Context) error {
	ask := e.openEpoch()
	if ask == nil { // a network's does not change
		<-ctx.Done()
		return ctx.Err()
	}
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			_, _ = ask(ctx) // asked again at the next tick
		}
	}
}

// wall gives the length of an epoch of a devnet; it is nil on networks whose
// timestamps tell.
func (e *epochs) wall() func() time.Duration {
	if !e.devnet {
		return nil
	}
	return func() time.Duration { return time.Duration(e.length.Load()) }
}

// openEpoch asks a devnet which epoch takes blocks now; it is nil elsewhere.
func (e *epochs) openEpoch() func(ctx context.Context) (abi.ChainEpoch, error) {
	if !e.devnet {
		return nil
	}
	return func(ctx context.Context) (abi.ChainEpoch, error) {
		st, err := e.source.DevnetStatus(ctx)
		if err != nil {
			return 0, err
		}
		e.length.Store(st.PaceMillis * int64(time.Millisecond))
		return st.Height + 1, nil
	}
}
