package msgs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"

	"quarry/api"
)

var errCrash = errors.New("the process is dead")

// mortal is a store whose process dies at some writes: the write is done or not,
// and nothing more is until the next process opens it.
type mortal struct {
	datastore.Batching
	mu   sync.Mutex
	dead bool
	die  func() (dies, done bool)
	stop func() // what else the process does
}

func (d *mortal) write(do func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return errCrash
	}
	dies, done := d.die()
	if !dies {
		return do()
	}
	d.dead = true
	d.stop()
	if done {
		_ = do()
	}
	return errCrash
}

func (d *mortal) Put(ctx context.Context, k datastore.Key, v []byte) error {
	return d.write(func() error { return d.Batching.Put(ctx, k, v) })
}

func (d *mortal) Sync(ctx context.Context, k datastore.Key) error {
	return d.write(func() error { return d.Batching.Sync(ctx, k) })
}

// process is a sender that is started again when it dies.
type process struct {
	mu    sync.Mutex
	m     *model
	disk  datastore.Batching
	die   func() (dies, done bool)
	store *mortal
	s     *Sender
	life  context.Context
	runs  int
}

func (p *process) sender(ctx context.Context) (*Sender, context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.s != nil {
		p.store.mu.Lock()
		dead := p.store.dead
		p.store.mu.Unlock()
		if !dead {
			return p.s, p.life
		}
	}
	p.runs++
	life, stop := context.WithCancel(ctx)
	p.life, p.store = life, &mortal{Batching: p.disk, die: p.die, stop: stop}
	p.s = New(Config{Confidence: 5, StuckEpochs: 4, MaxFee: big.NewInt(1 << 50)}, Deps{Chain: p.m, Store: p.store})
	return p.s, p.life
}

// deliver does what every caller does: it sends under its key and waits, and
// again when the process died. It returns where the message was executed.
func (p *process) deliver(ctx context.Context, key string, msg *api.Message) (*api.MsgLookup, error) {
	var c cid.Cid // the caller's own note, older than the sender's perhaps
	for {
		s, life := p.sender(ctx)
		if !c.Defined() {
			got, err := s.Send(life, key, msg)
			if err != nil {
				if sleep(ctx, time.Second) != nil {
					return nil, fmt.Errorf("send: %w", err)
				}
				continue
			}
			c = got
		}
		l, err := s.Wait(life, c)
		if err == nil {
			return l, nil
		}
		if sleep(ctx, time.Second) != nil {
			return nil, fmt.Errorf("wait: %w", err)
		}
	}
}

// weather is what happens to the chain in one epoch.
func weather(m *model, luck *coin, from []address.Address) {
	switch luck.n(20) {
	case 0, 1:
		m.reorg(1+luck.n(4), func() bool { return !luck.one(3) })
	case 2:
		m.losePool(func() bool { return true })
	case 3:
		m.losePool(func() bool { return luck.one(2) })
	case 4:
		m.forgetUUIDs()
	case 5, 6:
		m.foreign(from[luck.n(len(from))], false)
	case 7:
		m.foreign(from[luck.n(len(from))], true)
	case 8:
		m.mu.Lock()
		m.baseFee = 100 << luck.n(6)
		m.mu.Unlock()
	}
	m.mine(func(*api.SignedMessage) bool { return !luck.one(10) })
}

// Whatever happens to the chain, the node's pool, its memory of ids, the base
// fee and the process, and whoever else uses the senders: each message is on
// chain exactly once.
func TestEachMessageLandsOnce(t *testing.T) {
	seeds := uint64(3)
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { landOnce(t, seed, 500) }) })
	}
}

func landOnce(t *testing.T, seed uint64, messages int) {
	luck := &coin{r: rand.New(rand.NewPCG(seed, 7))}
	m := newModel()
	m.pushFault = func(*api.Message) (before, after error) {
		lost := &api.ErrUnreachable{Peer: "the full node", Reason: "connection reset"}
		switch luck.n(12) {
		case 0:
			return lost, nil
		case 1:
			return nil, lost
		}
		return nil, nil
	}
	from := []address.Address{m.signer(100), m.signer(101), m.signer(102)}
	p := &process{m: m, disk: store(), die: func() (bool, bool) { return luck.one(150), luck.one(2) }}
	to, _ := address.NewIDAddress(1000)
	ctx, stop := context.WithTimeout(t.Context(), 30*24*time.Hour)
	defer stop()
	var work, world sync.WaitGroup
	world.Go(func() {
		if sleep(ctx, 50_000*time.Second) == nil {
			t.Errorf("still waiting: %+v, height %d, pool %d", p.s.Waiting(), m.head().ts.Height, len(m.pending()))
			stop()
		}
	})
	over := make(chan struct{})
	world.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(time.Second):
				weather(m, luck, from)
			}
		}
	})
	todo := make(chan int)
	for range 8 {
		work.Go(func() {
			for i := range todo {
				key := fmt.Sprintf("message %d", i)
				l, err := p.deliver(ctx, key, &api.Message{To: to, From: from[i%3], Method: 5, Params: []byte(key)})
				if err != nil {
					t.Errorf("%s: %v", key, err)
				} else if m.params(l.Message) != key {
					t.Errorf("%s: the receipt is of %s", key, l.Message)
				}
			}
		})
	}
	for i := range messages {
		todo <- i
	}
	close(todo)
	work.Wait()
	for range 20 { // what is still pending must not come as a second
		time.Sleep(time.Second)
	}
	close(over)
	stop()
	world.Wait()
	m.mine(nil)
	for i := range messages {
		if n := m.executed(fmt.Sprintf("message %d", i)); n != 1 {
			t.Errorf("message %d was executed %d times", i, n)
		}
	}
	t.Logf("seed %d: height %d, %d processes, calls %v", seed, m.head().ts.Height, p.runs, m.calls)
	if p.runs < 3 || m.calls["WalletSignMessage"] == 0 {
		t.Errorf("the weather was too good: %d processes, %v", p.runs, m.calls)
	}
}
