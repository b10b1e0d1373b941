package window

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/chain/msgs"
)

const retryPause = 200 * time.Millisecond

// prove is the life of a job: plan, then one strand per message.
func (s *Scheduler) prove(j *job) {
	var batches []batch
	var rand abi.Randomness
	for d := retryPause; ; d = pause(j.window, d) {
		err := s.catch.Do(fmt.Sprintf("planning deadline %d", j.info.Index), func() (err error) {
			batches, rand, err = s.prepare(j)
			return err
		})
		if err == nil {
			break
		}
		if j.window.Err() != nil {
			return
		}
		s.repeated(err, "window PoSt: planning, will repeat", "deadline", j.info.Index, "open", j.info.Open)
	}
	var strands sync.WaitGroup
	for _, b := range batches {
		strands.Go(func() { // what goes wrong with one batch does not touch the others
			_ = s.catch.Do(fmt.Sprintf("partitions %v of deadline %d", b.indexes(), j.info.Index), func() error {
				s.strand(j, b, rand)
				return nil
			})
		})
	}
	strands.Wait()
}

func (s *Scheduler) prepare(j *job) ([]batch, abi.Randomness, error) {
	batches, err := s.plan(j.window, j.info)
	if err != nil || len(batches) == 0 {
		return nil, nil, err
	}
	rand, err := s.challengeOf(j.window, j.info)
	if err != nil {
		return nil, nil, fmt.Errorf("challenge of epoch %d: %w", j.info.Challenge, err)
	}
	j.rand.Store(&rand)
	return batches, rand, nil
}

func (s *Scheduler) challengeOf(ctx context.Context, di *dline.Info) (abi.Randomness, error) {
	return s.deps.Chain.StateGetRandomnessFromBeacon(ctx, crypto.DomainSeparationTag_WindowedPoStChallengeSeed,
		di.Challenge, s.entropy, s.deps.Heads.Head().Key())
}

// strand brings one batch onto the chain, with a new attempt whenever a message
// fails while the deadline is open, or leaves out partitions of which nothing
// could be read: they are tried again until it closes.
func (s *Scheduler) strand(j *job, b batch, rand abi.Randomness) {
	var used []string
	defer func() {
		// Not while another process run may still need to know the message.
		if cause := context.Cause(j.life); cause == nil || errors.Is(cause, errSettled) {
			s.forget(used)
		}
	}()
	wait := retryPause
	for attempt := 0; ; attempt++ {
		log := s.deps.Log.With("deadline", j.info.Index, "open", j.info.Open, "partitions", b.indexes())
		key := fmt.Sprintf("wdpost-%s-%d-%s-%x-%d", s.cfg.Miner, j.info.Open, b.name(), []byte(rand)[:4], attempt)
		used = append(used, key)
		var done []uint64
		err := s.catch.Do(fmt.Sprintf("proving partitions %v of deadline %d", b.indexes(), j.info.Index), func() (err error) {
			done, err = s.attempt(j, b, rand, key)
			return err
		})
		if b = b.without(done); err == nil && len(b) == 0 {
			return
		}
		if j.life.Err() != nil || j.window.Err() != nil || errors.Is(err, errClosed) {
			log.Warn("window PoSt: not on chain in time", "left", b.indexes(), "cause", context.Cause(j.life), "error", err)
			return
		}
		if err == nil {
			log.Error("window PoSt: proven without partitions of which nothing can be read; trying them until the deadline closes",
				"left", b.indexes())
			attempt = -1 // the rest is a batch of another name
			continue
		}
		log.Warn("window PoSt: message failed, trying again", "error", err)
		if posted, err := s.posted(j.window, j.info, s.deps.Heads.Head()); err == nil {
			left := slices.DeleteFunc(slices.Clone(b), func(p part) bool { return posted[p.index] })
			if len(left) == 0 {
				log.Info("window PoSt: the chain has a proof of these partitions already")
				return
			}
			if len(left) < len(b) {
				b, attempt = left, -1
			}
		}
		wait = pause(j.window, wait)
	}
}

// attempt makes, sends and follows one message. done are the partitions that it
// brought onto the chain; otherwise err says what happened to it.
func (s *Scheduler) attempt(j *job, b batch, rand abi.Randomness, key string) (done []uint64, err error) {
	rec := api.PoStRecord{Deadline: j.info.Index, Open: j.info.Open, Partitions: b.indexes(), Time: time.Now()}
	c, sent, err := s.deps.Msgs.Sent(j.life, key)
	if err != nil {
		return nil, err
	}
	if !sent {
		p, err := s.proveUntilClose(j, b, rand)
		if err == nil {
			rec.Partitions = p.partitions
		}
		rec.Sectors, rec.Skipped, rec.Elapsed = p.sectors, p.skipped, p.elapsed
		if ierr := s.book.intend(context.WithoutCancel(j.life), pending{Key: key, Close: j.info.Close, Record: rec}); ierr != nil {
			return nil, errors.Join(err, ierr)
		}
		if err == nil {
			c, err = s.submit(j, key, p)
		}
		if err != nil {
			return nil, s.lost(j, key, rec, err)
		}
	} else if old, found := s.pendingRecord(j.life, key); found {
		rec = old
	}
	rec.Message = &c
	lookup, err := s.deps.Msgs.Wait(j.life, c)
	if ok, err := s.settle(j.life, key, rec, lookup, err); !ok {
		return nil, err
	}
	return rec.Partitions, nil
}

// submit sends a proof once its deadline is open.
func (s *Scheduler) submit(j *job, key string, p proven) (cid.Cid, error) {
	head, err := s.deps.Heads.WaitHeight(j.window, j.info.Open+s.cfg.SubmitConfidence)
	if err != nil {
		return cid.Undef, err
	}
	if head.Height+1 >= j.info.Close { // the next epoch is the first to execute it
		return cid.Undef, errClosed
	}
	m, err := s.message(j.window, p)
	if err != nil {
		return cid.Undef, err
	}
	return s.send(j, key, m)
}

// proveUntilClose repeats until there is a proof or the deadline closes; then
// the error is what stood in the way.
func (s *Scheduler) proveUntilClose(j *job, b batch, rand abi.Randomness) (proven, error) {
	last, why := proven{}, errClosed
	loud := false
	for d := retryPause; ; d = pause(j.window, d) {
		if j.window.Err() != nil {
			return last, why
		}
		p, err := s.build(j, b, rand)
		if err == nil {
			return p, nil
		}
		if j.window.Err() == nil || why == errClosed {
			last, why = p, err // not the cancellation that hides the reason
		}
		var nothing *errNothingProvable
		if !errors.As(err, &nothing) {
			s.repeated(err, "window PoSt: proving, will repeat", "deadline", j.info.Index, "partitions", b.indexes())
			continue
		}
		if !loud {
			s.deps.Log.Error("window PoSt: NOTHING OF THESE PARTITIONS CAN BE READ; trying until the deadline closes, "+
				"then the chain takes all of it for faulty",
				"deadline", j.info.Index, "partitions", b.indexes(), "closes", j.info.Close, "error", err)
		}
		loud = true
		s.mu.Lock()
		s.alerts[j.info.Index] = fmt.Sprintf("deadline %d: %s", j.info.Index, err)
		s.mu.Unlock()
	}
}

// send repeats the keyed send until it succeeds or the deadline closes: an
// error may mean that the node is away for a moment. It gives up when the node
// has tried the message and it failed, so that the next attempt proves anew.
func (s *Scheduler) send(j *job, key string, m *api.Message) (c cid.Cid, err error) {
	for d := retryPause; ; d = pause(j.window, d) {
		if c, err = s.deps.Msgs.Send(j.window, key, m); err == nil || j.window.Err() != nil || refused(err) {
			return c, err
		}
		s.repeated(err, "window PoSt: sending, will repeat", "deadline", j.info.Index, "key", key)
	}
}

// refused recognises a failed trial run by the words of lotus
// node/impl/full/gas.go; the RPC carries no type for it everywhere.
func refused(err error) bool { return strings.Contains(err.Error(), "message execution failed") }

// message addresses a proof to the miner actor.
func (s *Scheduler) message(ctx context.Context, p proven) (*api.Message, error) {
	params, err := msgs.Params(&p.params)
	if err != nil {
		return nil, err
	}
	from, err := s.sender(ctx)
	if err != nil {
		return nil, err
	}
	return &api.Message{
		To:     s.cfg.Miner,
		From:   from,
		Value:  big.Zero(),
		Method: builtin.MethodsMiner.SubmitWindowedPoSt,
		Params: params,
	}, nil
}

// sender picks who pays: a control address kept for this, else the worker
// (lotus storage/ctladdr/addresses.go).
func (s *Scheduler) sender(ctx context.Context) (address.Address, error) {
	head := s.deps.Heads.Head().Key()
	info, err := s.deps.Chain.StateMinerInfo(ctx, s.cfg.Miner, head)
	if err != nil {
		return address.Undef, fmt.Errorf("addresses of the miner: %w", err)
	}
	for _, a := range info.ControlAddresses {
		if a == info.Worker || a == info.Owner {
			continue
		}
		key, err := s.deps.Chain.StateAccountKey(ctx, a, head)
		if err != nil {
			continue
		}
		has, err := s.deps.Chain.WalletHas(ctx, key)
		if err != nil || !has {
			continue
		}
		if funds, err := s.deps.Chain.WalletBalance(ctx, key); err == nil && funds.Int != nil && funds.GreaterThanEqual(s.cfg.MinFunds) {
			return a, nil
		}
	}
	return info.Worker, nil
}
