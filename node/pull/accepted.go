package pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"quarry/api"
	"quarry/internal/holder"
)

// maxCancels bounds the ends of calls that wait to be told to the private node;
// what is over is not told, and the call then ends with the link.
const maxCancels = 256

// accepted is one link at the markets node's end: calls go out, answers come in.
type accepted struct {
	w       *wire
	who     holder.Claimant
	limit   int // of calls at once
	cancels chan uint64
	over    chan struct{} // closed when nothing is answered any more

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan message
	why     error // it was ended
}

func newAccepted(w *wire, who holder.Claimant, limit int) *accepted {
	return &accepted{
		w:       w,
		who:     who,
		limit:   limit,
		cancels: make(chan uint64, maxCancels),
		over:    make(chan struct{}),
		waiting: map[uint64]chan message{},
	}
}

// end closes the link for a reason of ours; the first one stays.
func (l *accepted) end(why error) {
	l.mu.Lock()
	if l.why == nil {
		l.why = why
	}
	l.mu.Unlock()
	l.w.close()
}

// run reads answers until the link is lost and says why. The peer is asked for a
// sign of life every interval; alive is told of each, and what it says ends the
// link.
func (l *accepted) run(ctx context.Context, interval time.Duration, alive func() error) error {
	stop := context.AfterFunc(ctx, func() { l.end(errors.New("this process stops")) })
	defer stop()
	l.w.ws.SetPongHandler(func(string) error { return alive() })
	var keeping sync.WaitGroup
	keeping.Go(func() { l.keep(interval) })
	err := l.read()
	l.w.close()
	close(l.over)
	keeping.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.why != nil {
		return l.why
	}
	return err
}

func (l *accepted) read() error {
	for {
		b, err := l.w.receive()
		if err != nil {
			return err
		}
		var m message
		if err := json.Unmarshal(b, &m); err != nil {
			return fmt.Errorf("the private node sends what is no JSON-RPC: %w", err)
		}
		id, ok := numberOf(m)
		if m.Method != "" || !ok {
			return errors.New("the private node sends something else than answers over the link; run the same release on both")
		}
		l.mu.Lock()
		to := l.waiting[id]
		delete(l.waiting, id)
		l.mu.Unlock()
		if to != nil { // else nobody waits any more
			to <- m
		}
	}
}

// keep sends signs of life, and tells which calls nobody waits for.
func (l *accepted) keep(interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	l.w.ping() // the first tells the other side's silence limit at once
	for {
		select {
		case <-l.w.gone:
			return
		case id := <-l.cancels:
			if err := l.w.send(context.Background(), cancelOf(id)); err != nil {
				return
			}
		case <-tick.C:
			l.w.ping()
		}
	}
}

// call brings one call to the private node. When ctx ends it returns at once,
// whatever the other side does.
func (l *accepted) call(ctx context.Context, call []byte) ([]byte, error) {
	answer := make(chan message, 1)
	l.mu.Lock()
	if len(l.waiting) >= l.limit {
		l.mu.Unlock()
		return nil, &api.ErrBusy{What: "the link to the private node", Reason: fmt.Sprintf("%d calls wait for an answer", l.limit)}
	}
	l.last++
	id := l.last
	l.waiting[id] = answer
	l.mu.Unlock()
	defer l.forget(id)
	out, own, err := renumbered(call, id)
	if err != nil {
		return nil, err
	}
	if err := l.w.send(ctx, out); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &api.ErrUnreachable{Peer: peerName, Reason: err.Error()}
	}
	select {
	case m := <-answer:
		return answerWith(m, own)
	case <-ctx.Done():
		select {
		case l.cancels <- id:
		default:
		}
		return nil, ctx.Err()
	case <-l.over:
		return nil, &api.ErrUnreachable{Peer: peerName, Reason: "the link was lost before the answer came"}
	}
}

func (l *accepted) forget(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, id)
}
