package sealing

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/api"
)

// maxBatch is how many sectors a message may carry (actors
// runtime/src/runtime/policy.rs, PRE_COMMIT_SECTOR_BATCH_MAX_SIZE; proofs may be
// more, but nothing is gained from that).
const maxBatch = 256

// maxParams is how many bytes of parameters a message of several sectors may
// have: full nodes take messages of 64 KiB (lotus chain/messagepool,
// MaxMessageSize), and the rest of the message needs some.
const maxParams = 60 << 10

// part is what one sector adds to a message.
type part struct {
	value      abi.TokenAmount
	preCommit  miner.SectorPreCommitInfo
	activation miner.SectorActivationManifest
	proof      []byte
}

// sent is what became of a sector's part.
type sent struct {
	msg        cid.Cid
	index      uint64 // place within the message
	others     int
	expiration abi.ChainEpoch // of a pre-commitment that was just sent
	alone      bool           // nobody else came: send it on its own
	err        error
}

func (s sent) reason() string {
	if s.others == 0 {
		return s.msg.String()
	}
	return fmt.Sprintf("%s, with %d others", s.msg, s.others)
}

// member is a sector that waits for others.
type member struct {
	number abi.SectorNumber
	key    string // of the message that it would send alone
	make   func(ctx context.Context, head *api.TipSet) (part, error)
	done   chan sent // buffered, one answer
}

// batcher gathers sectors whose messages may go out as one: when there are
// enough, when the first has waited long enough, or when one is pressed.
type batcher struct {
	s    *Sealing
	work jobKind
	via  Messages
	max  int // sectors
	// viaMany gives the sender of a message of several sectors, nil for via.
	viaMany func(sectors int) Messages
	room    int // bytes of parameters
	wait    func() time.Duration

	mu    sync.Mutex
	queue []*member
}

// turn is a sector's part of a message whose turn it is.
type turn struct {
	in      *batcher
	head    *api.TipSet // as of now
	pressed bool        // it cannot wait for others
	build   func(ctx context.Context, head *api.TipSet) (part, error)
}

// dispatch sends the sector's part, with others where that is wanted. A zero
// answer without an error means that the visit ended first.
func (s *Sealing) dispatch(ctx context.Context, l *lane, r record, t turn) (sent, error) {
	b := t.in
	key := s.msgKey(r, job{kind: b.work})
	if old := s.batches.of(key); old != nil { // sent, as far as we know
		out := s.resend(ctx, b, old, key)
		if !isFailure(out.err) {
			return out, out.err
		}
		r.Alone = true
	} else if b.max > 1 && !r.Alone {
		out := b.join(ctx, r, &member{number: r.Number, key: key, make: t.build, done: make(chan sent, 1)}, t.pressed)
		if !out.alone && !isFailure(out.err) {
			return out, out.err
		}
		r.Alone = true
	}
	if b.max > 1 && r.Alone { // noted first: what goes out alone must not join others later
		if err := s.amend(ctx, l, func(r *record) { r.Alone = true }); err != nil {
			return sent{}, err
		}
	}
	p, err := t.build(ctx, t.head)
	if err != nil {
		return sent{}, err
	}
	method, value, params := b.assemble([]part{p})
	c, err := s.send(ctx, r, outgoing{
		via:    b.via,
		work:   job{kind: b.work},
		method: method,
		value:  value,
		params: params,
		head:   t.head,
	})
	return sent{msg: c, expiration: p.preCommit.Expiration}, err
}

// pressing tells whether the sector cannot wait for others.
func (s *Sealing) pressing(r record, o onChain) bool {
	now := o.head.Height
	if start, _, ok := r.dealSpan(); ok && start-now <= s.cfg.StartEpochSealingBuffer {
		return true
	}
	if o.preCommit != nil {
		return now-o.preCommit.PreCommitEpoch > maxProveCommit/2
	}
	return now-r.TicketEpoch > miner.MaxPreCommitRandomnessLookback-epochsInDay/4
}

// join waits until the sector's message was sent, by whoever came to send it.
func (b *batcher) join(ctx context.Context, r record, m *member, pressed bool) sent {
	b.s.mu.Lock()
	run := b.s.running
	b.s.mu.Unlock()
	if run == nil {
		return sent{}
	}
	b.mu.Lock()
	b.queue = append(b.queue, m)
	full := len(b.queue) >= b.max
	b.mu.Unlock()
	if !full && !pressed {
		if out, over := b.await(ctx, r.Updated, m); over {
			return out
		}
	}
	for b.waits(m) {
		b.flush(run)
	}
	return <-m.done
}

// Bounds of waiting for others.
const (
	defaultWait = 5 * time.Minute
	lookAgain   = 10 * time.Second // at how long that is
)

// await waits for others since a time. over says that the sector's part was sent
// by one of them, or that the visit has ended.
func (b *batcher) await(ctx context.Context, since time.Time, m *member) (out sent, over bool) {
	for {
		wait := time.Duration(0)
		if b.wait != nil {
			wait = b.wait()
		}
		if wait <= 0 {
			wait = defaultWait
		}
		left := time.Until(since.Add(wait))
		if left <= 0 {
			return sent{}, false
		}
		t := time.NewTimer(min(left, lookAgain))
		select {
		case out := <-m.done:
			t.Stop()
			return out, true
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			if b.leave(m) {
				return sent{}, true
			}
			return <-m.done, true // being sent: what comes of it must not be lost
		}
	}
}

func (b *batcher) waits(m *member) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Contains(b.queue, m)
}

func (b *batcher) leave(m *member) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.queue, m)
	if i >= 0 {
		b.queue = slices.Delete(b.queue, i, i+1)
	}
	return i >= 0
}

// flush sends the first of the queue and answers every one of them.
func (b *batcher) flush(ctx context.Context) {
	b.mu.Lock()
	n := min(len(b.queue), b.max)
	taken := slices.Clone(b.queue[:n])
	b.queue = slices.Delete(b.queue, 0, n)
	b.mu.Unlock()
	head, err := b.s.head(ctx)
	if err != nil {
		answerAll(taken, sent{err: err})
		return
	}
	parts := make([]part, 0, n)
	ready := make([]*member, 0, n)
	for _, m := range taken {
		p, err := m.make(ctx, head)
		if err != nil {
			// Its own visit will meet the same and say what it means.
			m.done <- sent{alone: isFailure(err), err: notFailure(err)}
			continue
		}
		parts, ready = append(parts, p), append(ready, m)
	}
	b.sendTogether(ctx, head, ready, parts)
}

func notFailure(err error) error {
	if isFailure(err) {
		return nil
	}
	return err
}

func answerAll(ms []*member, out sent) {
	for _, m := range ms {
		m.done <- out
	}
}

// sendTogether writes down who is in the message before it goes out, so that
// after a restart each of them finds it again. What is too big for one message
// becomes two.
func (b *batcher) sendTogether(ctx context.Context, head *api.TipSet, ms []*member, parts []part) {
	if len(ms) < 2 {
		answerAll(ms, sent{alone: true})
		return
	}
	method, value, params := b.assemble(parts)
	msg, err := b.s.message(ctx, method, value, params, head)
	if err != nil {
		answerAll(ms, sent{err: err})
		return
	}
	if half := len(ms) / 2; len(msg.Params) > b.room {
		b.sendTogether(ctx, head, ms[:half], parts[:half])
		b.sendTogether(ctx, head, ms[half:], parts[half:])
		return
	}
	bt := &bundle{ID: uuid.New(), Work: b.work, Message: msg}
	for _, m := range ms {
		bt.Numbers, bt.Keys = append(bt.Numbers, m.number), append(bt.Keys, m.key)
	}
	b.s.tidyBatches(ctx)
	if err := b.s.batches.add(ctx, b.s.store, bt); err != nil {
		answerAll(ms, sent{err: err})
		return
	}
	out := b.s.resend(ctx, b, bt, ms[0].key)
	for i, m := range ms {
		out.index, out.expiration = uint64(i), parts[i].preCommit.Expiration // not negative
		m.done <- out
	}
}

// resend pushes a bundle under its own key; the same message comes back as
// often as it is asked for. A refused one is forgotten, by all at once: nothing
// of it is on its way.
func (s *Sealing) resend(ctx context.Context, b *batcher, bt *bundle, key string) sent {
	bt.mu.Lock()
	defer bt.mu.Unlock()
	if bt.refused != nil {
		return sent{err: bt.refused}
	}
	via := b.via
	if b.viaMany != nil {
		via = b.viaMany(len(bt.Keys))
	}
	c, err := push(ctx, via, "batch/"+bt.ID.String(), bt.Message)
	if isFailure(err) {
		if err2 := s.batches.drop(ctx, s.store, bt); err2 != nil {
			return sent{err: err2}
		}
		bt.refused = err
	}
	return sent{msg: c, index: uint64(max(slices.Index(bt.Keys, key), 0)), others: len(bt.Keys) - 1, err: err} // not negative
}

// assemble makes the message of some sectors. One that is not taken must not
// keep the others from being activated, but a deal that the market does not
// take stops the message: an active sector could not bring it in later.
func (b *batcher) assemble(parts []part) (abi.MethodNum, abi.TokenAmount, cbg.CBORMarshaler) {
	value := big.Zero()
	pre := &miner.PreCommitSectorBatchParams2{}
	com := &miner.ProveCommitSectors3Params{RequireActivationSuccess: len(parts) == 1, RequireNotificationSuccess: true}
	for _, p := range parts {
		value = big.Add(value, p.value)
		pre.Sectors = append(pre.Sectors, p.preCommit)
		com.SectorActivations, com.SectorProofs = append(com.SectorActivations, p.activation), append(com.SectorProofs, p.proof)
	}
	if b == b.s.preCommits {
		return builtin.MethodsMiner.PreCommitSectorBatch2, value, pre
	}
	return builtin.MethodsMiner.ProveCommitSectors3, value, com
}
