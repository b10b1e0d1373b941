package window

import (
	"context"
	"errors"
	"fmt"
	"time"

	"quarry/api"
)

// lastLook is how long, on the wall clock, the receipt of a message is asked
// for when its deadline is long past.
const lastLook = 30 * time.Second

// settle counts what became of a message. Nothing is counted when the process
// ends or the chain was reorganised: the next run, or the next job, does it.
func (s *Scheduler) settle(life context.Context, key string, rec api.PoStRecord, l *api.MsgLookup, err error) (bool, error) {
	if err != nil && life.Err() != nil {
		if !errors.Is(context.Cause(life), errSettled) {
			return false, errors.Join(err, s.unfinished(life, key))
		}
		// The heads may have jumped over the receipt; look once more.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(life), lastLook)
		defer cancel()
		l, err = s.deps.Msgs.Wait(ctx, *rec.Message)
	}
	switch {
	case err != nil:
		rec.Error = err.Error()
	case l.Receipt.ExitCode != 0:
		err = fmt.Errorf("message %s ended with exit code %d", *rec.Message, l.Receipt.ExitCode)
		rec.Error = err.Error()
	default:
		rec.Accepted = true
	}
	if berr := s.book.settle(context.WithoutCancel(life), key, rec); berr != nil {
		return false, berr
	}
	s.deps.Log.Info("window PoSt settled", "deadline", rec.Deadline, "open", rec.Open, "partitions", rec.Partitions,
		"sectors", rec.Sectors, "skipped", rec.Skipped, "accepted", rec.Accepted, "error", rec.Error, "proving", rec.Elapsed)
	return rec.Accepted, err
}

// lost counts an attempt that never became a message.
func (s *Scheduler) lost(j *job, key string, rec api.PoStRecord, cause error) error {
	if c := context.Cause(j.life); c != nil && !errors.Is(c, errSettled) {
		return errors.Join(cause, s.unfinished(j.life, key))
	}
	rec.Error = cause.Error()
	return errors.Join(cause, s.book.settle(context.WithoutCancel(j.life), key, rec))
}

// unfinished deals with the pending entry of a job that ended early: it stays
// for the next run when the process ends, and goes when the chain was
// reorganised, because the proof is worthless then.
func (s *Scheduler) unfinished(life context.Context, key string) error {
	if errors.Is(context.Cause(life), errReverted) {
		return s.book.drop(context.WithoutCancel(life), key)
	}
	return nil
}

func (s *Scheduler) pendingRecord(ctx context.Context, key string) (api.PoStRecord, bool) {
	list, err := s.book.open(ctx)
	if err != nil {
		return api.PoStRecord{}, false
	}
	for _, p := range list {
		if p.Key == key {
			return p.Record, true
		}
	}
	return api.PoStRecord{}, false
}

// resume follows the messages that were on their way when the process ended.
// Those whose deadline is still open are also found by its job; whoever comes
// first counts.
func (s *Scheduler) resume(ctx context.Context) error {
	list, err := s.book.open(ctx)
	if err != nil {
		return err
	}
	for _, p := range list {
		s.spawn("the message "+p.Key, func() { s.finish(ctx, p) })
	}
	return nil
}

func (s *Scheduler) finish(ctx context.Context, p pending) {
	if _, err := s.deps.Heads.WaitHeight(ctx, 0); err != nil {
		return
	}
	c, sent, err := s.deps.Msgs.Sent(ctx, p.Key)
	if err == nil && !sent {
		// It may have left without a note. Whether it did shows when the
		// deadline is over: a job that still can sends the same key again.
		if _, err = s.deps.Heads.WaitHeight(ctx, p.Close+s.cfg.Settle); err != nil {
			return
		}
		c, sent, err = s.deps.Msgs.Sent(ctx, p.Key)
	}
	if err != nil {
		s.deps.Log.Warn("window PoSt: reading a pending message", "key", p.Key, "error", err)
		return
	}
	if !sent {
		p.Record.Error = "the process ended before the message was known to be sent"
		if err := s.book.settle(ctx, p.Key, p.Record); err != nil {
			s.deps.Log.Warn("window PoSt: counting a lost message", "key", p.Key, "error", err)
		}
		return
	}
	p.Record.Message = &c
	life, end := context.WithCancelCause(ctx)
	defer end(nil)
	s.spawn("waiting for the end of a deadline", func() {
		if _, err := s.deps.Heads.WaitHeight(life, p.Close+s.cfg.Settle); err == nil {
			end(errSettled)
		}
	})
	l, err := s.deps.Msgs.Wait(life, c)
	if _, err := s.settle(life, p.Key, p.Record, l, err); err != nil && ctx.Err() == nil {
		s.deps.Log.Warn("window PoSt of an earlier run", "key", p.Key, "error", err)
	}
}

func (s *Scheduler) forget(keys []string) {
	for _, k := range keys {
		if err := s.deps.Msgs.Forget(context.Background(), k); err != nil {
			s.deps.Log.Warn("window PoSt: forgetting a message", "key", k, "error", err)
		}
	}
}
