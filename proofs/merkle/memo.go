package merkle

import "sync"

// memoLimit bounds what one memo keeps: some 20 MB.
const memoLimit = 1 << 16

// memo remembers parents by their children.
type memo struct {
	mu    sync.Mutex
	known map[memoKey]Node
}

// memoKey is all children of a node, and how many they are.
type memoKey struct {
	arity    int
	children [BaseArity * NodeSize]byte
}

// Remembering is f with a memory for the hashes it computes. The paths of one
// proof meet on their way up, so that many parents would be hashed again and
// again: in a proof of replication of 32 GiB a third of them, in small sectors
// nearly all. The outcome of Check is the same. It may be used from several
// goroutines and is meant for one proof; drop it afterwards.
func (f Form) Remembering() Form {
	if f.BaseArity > BaseArity || f.Sub > BaseArity || f.Top > BaseArity {
		return f
	}
	m, plain := &memo{known: map[memoKey]Node{}}, f.hash
	f.hash = func(children ...Node) (Node, error) {
		key := memoKey{arity: len(children)}
		for i := range children {
			copy(key.children[i*NodeSize:], children[i][:])
		}
		m.mu.Lock()
		n, ok := m.known[key]
		m.mu.Unlock()
		if ok {
			return n, nil
		}
		n, err := plain(children...)
		if err != nil {
			return n, err
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.known) < memoLimit {
			m.known[key] = n
		}
		return n, nil
	}
	return f
}
