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
	f.memo = &memo{known: map[memoKey]Node{}}
	return f
}

// key is how the memo knows a group of children.
func (m *memo) key(group []byte) (k memoKey) {
	k.arity = len(group) / NodeSize
	copy(k.children[:], group)
	return k
}

// recall is the parent of a group, if it is known. A nil memo knows nothing.
func (m *memo) recall(group []byte) (Node, bool) {
	if m == nil {
		return Node{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n, ok := m.known[m.key(group)]
	return n, ok
}

// keep remembers the parent of a group.
func (m *memo) keep(group []byte, parent Node) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) < memoLimit {
		m.known[m.key(group)] = parent
	}
}
