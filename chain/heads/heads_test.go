package heads

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"go.uber.org/goleak"

	"quarry/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ts makes a tipset named by a label, on a parent.
func ts(label string, parent *api.TipSet, h abi.ChainEpoch) *api.TipSet {
	c, err := abi.CidBuilder.Sum([]byte(label))
	if err != nil {
		panic(err)
	}
	b := &api.BlockHeader{Height: h}
	if parent != nil {
		b.Parents = parent.Cids
	}
	return &api.TipSet{Cids: []cid.Cid{c}, Blocks: []*api.BlockHeader{b}, Height: h}
}

// node is a scripted full node: a set of tipsets, a head, live subscriptions.
type node struct {
	mu     sync.Mutex
	known  map[string]*api.TipSet
	head   *api.TipSet
	subs   []chan []*api.HeadChange
	opened int
	failN  int // subscriptions that fail before one works
	paths  int
}

func newNode(head *api.TipSet, known ...*api.TipSet) *node {
	n := &node{known: map[string]*api.TipSet{}, head: head}
	for _, t := range append(known, head) {
		n.known[t.Key().String()] = t
	}
	return n
}

func (n *node) ChainHead(context.Context) (*api.TipSet, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.head, nil
}

func (n *node) ChainGetTipSet(_ context.Context, k api.TipSetKey) (*api.TipSet, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if t := n.known[k.String()]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("tipset %s unknown", k)
}

func (n *node) ChainNotify(context.Context) (<-chan []*api.HeadChange, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.opened++
	if n.failN > 0 {
		n.failN--
		return nil, errors.New("connection refused")
	}
	ch := make(chan []*api.HeadChange, 16)
	ch <- []*api.HeadChange{{Type: api.HeadCurrent, Val: n.head}}
	n.subs = append(n.subs, ch)
	return ch, nil
}

func (n *node) ChainGetPath(_ context.Context, from, to api.TipSetKey) ([]*api.HeadChange, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paths++
	a, b := n.known[from.String()], n.known[to.String()]
	if a == nil || b == nil {
		return nil, errors.New("tipset not found")
	}
	var down, up []*api.HeadChange
	for !a.Equal(b) {
		if a.Height >= b.Height {
			down = append(down, &api.HeadChange{Type: api.HeadRevert, Val: a})
			a = n.known[a.Parents().String()]
		} else {
			up = append([]*api.HeadChange{{Type: api.HeadApply, Val: b}}, up...)
			b = n.known[b.Parents().String()]
		}
	}
	return append(down, up...), nil
}

// move sets the head; when quiet no subscription hears of it.
func (n *node) move(quiet bool, reverts []*api.TipSet, applies ...*api.TipSet) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var changes []*api.HeadChange
	for _, t := range reverts {
		changes = append(changes, &api.HeadChange{Type: api.HeadRevert, Val: t})
	}
	for _, t := range applies {
		changes = append(changes, &api.HeadChange{Type: api.HeadApply, Val: t})
		n.known[t.Key().String()] = t
		n.head = t
	}
	if !quiet {
		for _, s := range n.subs {
			s <- changes
		}
	}
}

func (n *node) drop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.subs {
		close(s)
	}
	n.subs = nil
}

func labels(ev Event, names map[string]string) string {
	s := ""
	for _, t := range ev.Reverts {
		s += "-" + names[t.Key().String()]
	}
	for _, t := range ev.Applies {
		s += "+" + names[t.Key().String()]
	}
	return s
}

// world is genesis g, chain a1 a2 a3, fork b2 b3 on a1.
type world struct {
	g, a1, a2, a3, b2, b3 *api.TipSet
	names                 map[string]string
}

func newWorld() world {
	w := world{names: map[string]string{}}
	w.g = ts("g", nil, 0)
	w.a1 = ts("a1", w.g, 1)
	w.a2, w.b2 = ts("a2", w.a1, 2), ts("b2", w.a1, 2)
	w.a3, w.b3 = ts("a3", w.a2, 3), ts("b3", w.b2, 4)
	for l, t := range map[string]*api.TipSet{"g": w.g, "a1": w.a1, "a2": w.a2, "a3": w.a3, "b2": w.b2, "b3": w.b3} {
		w.names[t.Key().String()] = l
	}
	return w
}

// scene runs a follower against the node inside a bubble of fake time.
func scene(t *testing.T, n *node, f *Follower, body func(ctx context.Context)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	body(ctx)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run ended with %v, want the error of its context", err)
	}
	synctest.Wait()
}

func TestFollowsReverts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		n := newNode(w.a1, w.g)
		f := New(Config{}, Deps{Chain: n})
		if f.Head() != nil {
			t.Fatal("a head before the first notification")
		}
		scene(t, n, f, func(ctx context.Context) {
			ch := f.Subscribe(ctx)
			expect := func(want string) {
				t.Helper()
				if got := labels(<-ch, w.names); got != want {
					t.Errorf("event %s, want %s", got, want)
				}
			}
			expect("+a1")
			n.move(false, nil, w.a2)
			expect("+a2")
			n.move(false, nil, w.a3)
			expect("+a3")
			n.move(false, []*api.TipSet{w.a3, w.a2}, w.b2, w.b3)
			expect("-a3-a2+b2+b3")
			if n.paths != 0 {
				t.Errorf("asked for %d paths although every notification continued the last", n.paths)
			}
			if !f.Head().Equal(w.b3) {
				t.Error("head is not b3")
			}
		})
	})
}

func TestReconcilesAfterLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		n := newNode(w.a1, w.g)
		n.failN = 3
		f := New(Config{}, Deps{Chain: n})
		scene(t, n, f, func(ctx context.Context) {
			ch := f.Subscribe(ctx)
			if got := labels(<-ch, w.names); got != "+a1" {
				t.Errorf("first event %s", got)
			}
			n.move(false, nil, w.a2)
			<-ch
			// The subscription ends, the chain forks meanwhile.
			n.drop()
			n.move(true, nil, w.b2)
			n.move(true, nil, w.b3)
			if got := labels(<-ch, w.names); got != "-a2+b2+b3" {
				t.Errorf("after the loss %s, want -a2+b2+b3", got)
			}
			// A notification that does not continue from our head.
			n.move(true, nil, w.a2)
			n.move(false, nil, w.a3)
			if got := labels(<-ch, w.names); got != "-b3-b2+a2+a3" {
				t.Errorf("after a lost notification %s", got)
			}
			// A subscription that died silently: the idle check finds it.
			n.move(true, nil, w.b3)
			if got := labels(<-ch, w.names); got != "-a3-a2+b2+b3" {
				t.Errorf("after silence %s", got)
			}
		})
	})
}

func TestPureRevertAndGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		n := newNode(w.a3, w.g, w.a1, w.a2)
		f := New(Config{}, Deps{Chain: n})
		scene(t, n, f, func(ctx context.Context) {
			ch := f.Subscribe(ctx)
			<-ch
			n.mu.Lock()
			n.head = w.a1
			n.subs[0] <- []*api.HeadChange{{Type: api.HeadRevert, Val: w.a3}, {Type: api.HeadRevert, Val: w.a2}}
			n.mu.Unlock()
			ev := <-ch
			if got := labels(ev, w.names); got != "-a3-a2" || !ev.Head.Equal(w.a1) {
				t.Errorf("pure revert gave %s head %v", got, ev.Head)
			}
			// The node starts over with another chain.
			x := ts("x", nil, 9)
			n.mu.Lock()
			n.known = map[string]*api.TipSet{x.Key().String(): x}
			n.head = x
			n.mu.Unlock()
			n.drop()
			ev = <-ch
			if !ev.Gap || !ev.Head.Equal(x) || len(ev.Reverts)+len(ev.Applies) != 0 {
				t.Errorf("jump event %+v", ev)
			}
		})
	})
}

func TestSlowReaderGetsOneEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		n := newNode(w.a1, w.g)
		f := New(Config{MaxPending: 3}, Deps{Chain: n})
		scene(t, n, f, func(ctx context.Context) {
			ch := f.Subscribe(ctx)
			<-ch
			step := func(r []*api.TipSet, a ...*api.TipSet) { n.move(false, r, a...); synctest.Wait() }
			step(nil, w.a2)
			step(nil, w.a3)
			step([]*api.TipSet{w.a3, w.a2}, w.b2, w.b3)
			// a2 and a3 came and went unseen.
			if got := labels(<-ch, w.names); got != "+b2+b3" {
				t.Errorf("coalesced to %s, want +b2+b3", got)
			}
			last := w.b3
			for i := range 5 {
				next := ts(fmt.Sprint("l", i), last, 10+abi.ChainEpoch(i))
				step(nil, next)
				last = next
			}
			ev := <-ch
			if !ev.Gap || len(ev.Applies) != 0 || !ev.Head.Equal(last) {
				t.Errorf("overflow: gap %v, %d applies", ev.Gap, len(ev.Applies))
			}
			sub, stop := context.WithCancel(ctx)
			other := f.Subscribe(sub)
			stop()
			for range other { // closes when its context ends
			}
		})
	})
}

func TestRevertThenReapplyVanishes(t *testing.T) {
	w := newWorld()
	ev := Event{Reverts: []*api.TipSet{w.a3, w.a2}, Applies: []*api.TipSet{w.b2}, Head: w.b2}
	ev.merge(Event{Reverts: []*api.TipSet{w.b2}, Applies: []*api.TipSet{w.a2, w.a3}, Head: w.a3}, 10)
	if len(ev.Reverts)+len(ev.Applies) != 0 || !ev.Head.Equal(w.a3) {
		t.Errorf("there and back again left %s", labels(ev, w.names))
	}
}

func TestWaitHeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		n := newNode(w.a1, w.g)
		f := New(Config{}, Deps{Chain: n})
		scene(t, n, f, func(ctx context.Context) {
			go func() {
				time.Sleep(time.Second)
				n.move(false, nil, w.a2)
				time.Sleep(time.Second)
				n.move(false, []*api.TipSet{w.a2}, w.b2, w.b3) // 3 is a null round
			}()
			got, err := f.WaitHeight(ctx, 3)
			if err != nil || !got.Equal(w.b3) {
				t.Errorf("WaitHeight(3) = %v, %v", got, err)
			}
			short, stop := context.WithTimeout(ctx, time.Second)
			defer stop()
			if _, err := f.WaitHeight(short, 100); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("WaitHeight(100) ended with %v", err)
			}
		})
	})
}

func TestRejectsBrokenNotifications(t *testing.T) {
	w := newWorld()
	for name, in := range map[string][]*api.HeadChange{
		"nil change":   {nil},
		"nil tipset":   {{Type: api.HeadApply}},
		"empty tipset": {{Type: api.HeadApply, Val: &api.TipSet{}}},
		"nil block":    {{Type: api.HeadApply, Val: &api.TipSet{Cids: w.a1.Cids, Blocks: []*api.BlockHeader{nil}}}},
		"unknown type": {{Type: "sideways", Val: w.a1}},
	} {
		if _, _, err := split(in); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
}
