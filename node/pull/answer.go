package pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"quarry/api"
)

// maxCallBytes times the biggest call bounds the bytes of calls being answered.
const maxCallBytes = 4

// answering is one link at the private node's end: calls come in, answers go out.
type answering struct {
	cfg    OpenerConfig
	answer func(ctx context.Context, perms []api.Permission, call []byte) []byte
	w      *wire

	mu      sync.Mutex
	running map[string]context.CancelFunc // by the id as it is written
	bytes   int64
}

func newAnswering(cfg OpenerConfig, answer func(context.Context, []api.Permission, []byte) []byte, w *wire) *answering {
	return &answering{cfg: cfg, answer: answer, w: w, running: map[string]context.CancelFunc{}}
}

// run answers until the link is lost or ctx ends, waits for what runs, and says
// why it ended. A call does not outlive its link.
func (a *answering) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, a.w.close)
	var calls sync.WaitGroup
	defer func() {
		cancel()
		stop()
		a.w.close()
		calls.Wait()
	}()
	for {
		b, err := a.w.receive()
		if err != nil {
			return err
		}
		refused, err := a.take(ctx, b, &calls)
		if err == nil && refused != nil {
			err = a.w.send(ctx, refused)
		}
		if err != nil {
			return err
		}
	}
}

// take begins a call, or gives what to answer instead. An error ends the link.
func (a *answering) take(ctx context.Context, b []byte, calls *sync.WaitGroup) (refused []byte, err error) {
	var m message
	if err := json.Unmarshal(b, &m); err != nil {
		return refusal(nil, codeParse, "Parse error"), nil
	}
	switch {
	case m.Method == methodCancel:
		a.cancel(m.Params)
		return nil, nil
	case m.Method == "":
		return nil, errors.New("the markets node answers what it was not asked")
	case !m.hasID() || len(m.ID) > maxID:
		return refusal(nil, codeInvalid, "a call over the link has an id"), nil
	}
	id, size := string(m.ID), int64(len(b))
	ctx, cancel := context.WithCancel(ctx)
	if why := a.begin(id, size, cancel); why != "" {
		cancel()
		return refusal(m.ID, codeBusy, why), nil
	}
	calls.Go(func() {
		defer cancel()
		out := a.answer(ctx, a.cfg.Perms, b)
		if int64(len(out)) > a.cfg.Answer {
			out = refusal(m.ID, codeInvalid, fmt.Sprintf("the answer to %s is bigger than %d bytes; ask for less at once", m.Method,
				a.cfg.Answer))
		}
		a.end(id, size)
		_ = a.w.send(ctx, out) // a link that is lost is seen by its reader
	})
	return nil, nil
}

// begin counts a call in, or tells why it is not taken.
func (a *answering) begin(id string, size int64, cancel context.CancelFunc) (why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch _, twice := a.running[id]; {
	case twice:
		return "a call with this id is being answered"
	case len(a.running) >= a.cfg.Calls, len(a.running) > 0 && a.bytes+size > maxCallBytes*a.cfg.MaxCall:
		return fmt.Sprintf("too many calls at once over the link (at most %d, and %d bytes); wait for answers",
			a.cfg.Calls, maxCallBytes*a.cfg.MaxCall)
	}
	a.running[id] = cancel
	a.bytes += size
	return ""
}

func (a *answering) end(id string, size int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.running, id)
	a.bytes -= size
}

// cancel ends the context of a call; its answer goes out all the same.
func (a *answering) cancel(params json.RawMessage) {
	var ids []json.RawMessage
	if json.Unmarshal(params, &ids) != nil || len(ids) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if end := a.running[string(ids[0])]; end != nil {
		end()
	}
}
