package sealing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// dataTries is how often work on the files of a sector may fail in a way that
// repeating does not help. After that they are taken for lost.
const dataTries = 8

// maxReseals is how often a sector is sealed again because its files were lost.
const maxReseals = 2

// dataFailure gives up a sector with deals whose data cannot be worked on, so
// that they are placed again while there is time. Zeros are never lost. Data that
// is on no path is waited for, as a disk may be mounted again.
func (s *Sealing) dataFailure(ctx context.Context, l *lane, r record, j job, err error) error {
	var step *stepError
	if !errors.As(err, &step) || step.kind != evFailed || r.deals() == 0 || r.Attempts[j]+1 < dataTries {
		return err
	}
	var t *taskError
	if !errors.As(err, &t) || !t.failure.Retryable {
		return fatal("its data cannot be worked on (%d tries): %w", dataTries, err)
	}
	var nowhere *api.ErrNotFound
	if !errors.As(t.failure, &nowhere) {
		return err
	}
	since, serr := s.missing(ctx, l, true)
	if serr != nil || time.Since(since) < s.cfg.LostAfter {
		return err
	}
	return fatal("its data is on no path since %s: %w", since.UTC().Format(time.RFC3339), err)
}

// missing notes whether files of a sector are missing, and gives since when.
func (s *Sealing) missing(ctx context.Context, l *lane, now bool) (since time.Time, err error) {
	s.mu.Lock()
	since = l.rec.Missing
	s.mu.Unlock()
	if now == !since.IsZero() {
		return since, nil
	}
	if since = (time.Time{}); now {
		since = time.Now()
	}
	return since, s.amend(ctx, l, func(r *record) { r.Missing = since })
}

// filesLost is asked while the next step of a sector waits for a worker: files of its
// own that have been on no path for too long are made again.
func (s *Sealing) filesLost(ctx context.Context, l *lane, r record, kinds ...api.FileType) error {
	gone := ""
	for _, t := range kinds {
		at, err := s.deps.Storage.StorageFindSector(ctx, s.id(r.Number), t)
		if err != nil {
			return fmt.Errorf("look for the %s file of %s: %w", t, s.name(r.Number), err)
		}
		if len(at) == 0 {
			gone = t.String()
		}
	}
	since, err := s.missing(ctx, l, gone != "")
	if err != nil || gone == "" || time.Since(since) < s.cfg.LostAfter {
		return err
	}
	return s.sealAgain(ctx, r, job{}, fmt.Sprintf("its %s file is on no path since %s", gone, since.UTC().Format(time.RFC3339)))
}

// proofFailure has a sector sealed again whose replica cannot be proven however
// often it is tried.
func (s *Sealing) proofFailure(ctx context.Context, r record, err error) error {
	c1 := job{kind: jobC1}
	var t *taskError
	if !errors.As(err, &t) || t.job != c1 || (r.Attempts[c1]+1)%dataTries != 0 {
		return err
	}
	return s.sealAgain(ctx, r, c1, fmt.Sprintf("its replica cannot be proven (%d tries): %s", r.Attempts[c1]+1, err))
}

// sealAgain sends a sector back to PC1, with the ticket that it has: the same ticket
// gives the same CommR, which the chain holds once it is pre-committed. Where there
// is no time for that the sector is given up, and its deals are placed again. failed
// is the work that needs a new key, zero where none has failed.
func (s *Sealing) sealAgain(ctx context.Context, r record, failed job, why string) error {
	head, err := s.inTime(ctx, r)
	if err != nil {
		return err
	}
	delay, err := s.challengeDelay(ctx)
	if err != nil {
		return err
	}
	last := r.PreCommitEpoch + maxProveCommit + delay
	next := fmt.Sprintf("its deals are placed again, its deposit is lost; when they are: miner sectors remove %d", r.Number)
	switch {
	case r.Resealed >= maxReseals:
		return fatal("%s; it was sealed %d times already, see the disks and the memory of the workers; %s", why, r.Resealed+1, next)
	case r.PreCommitEpoch > 0 && head.Height+s.sealingTime() > last:
		return fatal("%s; it is epoch %d, and the pre-commitment can be proven until %d only, too soon to seal again; %s",
			why, head.Height, last, next)
	}
	return &stepError{evLost, failed, fmt.Errorf("%s; it is sealed again with the ticket of epoch %d", why, r.TicketEpoch)}
}

// sealingTime is how long sealing is expected to take, in epochs.
func (s *Sealing) sealingTime() abi.ChainEpoch { return s.cfg.StartEpochSealingBuffer }

// lose forgets what was computed of lost files. The commitments stay: the chain
// has them.
func (r *record) lose(e event) {
	r.bump(job{kind: jobPC1}) // its task under the old key is done
	r.bump(e.Job)
	r.PC1Out, r.Proof = api.PreCommit1Out{}, nil
	r.Resealed++
	r.Missing, r.NextRetry = time.Time{}, time.Time{}
	r.LastErr, r.TaskID = e.Reason, nil
}
