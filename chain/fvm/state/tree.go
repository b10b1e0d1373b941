package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	init18 "github.com/filecoin-project/go-state-types/builtin/v18/init"
	"github.com/filecoin-project/go-state-types/builtin/v18/util/adt"
	"github.com/ipfs/go-cid"
	cbor "github.com/ipfs/go-ipld-cbor"
	cbg "github.com/whyrusleeping/cbor-gen"
)

// Actor is one entry of the state tree.
type Actor = builtin.ActorV5

// Version is the only state tree version read and written.
const Version = 5

// EmptyArrayHead is the CID of the empty CBOR array: the head of an actor
// whose constructor has not run, and the info object of the tree.
var EmptyArrayHead = cid.MustParse("bafy2bzacebc3bt6cedhoyw34drrmjvazhu4oj25er2ebk4u445pzycvq4ta4a")

var emptyArray = []byte{0x80}

// InitActor is the id of f01, whose state maps key addresses to ids.
const InitActor abi.ActorID = 1

// ErrInTransaction is returned by Flush between Begin and Commit or Revert.
var ErrInTransaction = errors.New("state tree is inside a transaction")

type undo struct {
	id      abi.ActorID
	actor   *Actor // nil: absent
	dirty   bool   // it was changed since the last flush already
	resolve *address.Address
}

type entry struct {
	actor *Actor // never changed in place; nil means deleted or absent
	dirty bool
}

// Tree is the actor state tree: a cache of actors over the HAMT, with an undo
// log. Actors handed out are copies. It belongs to one goroutine.
type Tree struct {
	buf     *Buffer
	hamt    *adt.Map
	cache   map[abi.ActorID]entry
	resolve map[address.Address]abi.ActorID
	log     []undo
	depth   int
}

// Load opens the tree under a state root (array of version, actors, info).
func Load(ctx context.Context, buf *Buffer, root cid.Cid) (*Tree, error) {
	data, err := buf.Get(ctx, root)
	if err != nil {
		return nil, fmt.Errorf("load state root: %w", err)
	}
	actors, err := decodeRoot(data)
	if err != nil {
		return nil, fmt.Errorf("load state root %s: %w", root, err)
	}
	m, err := adt.AsMap(buf.ADT(ctx), actors, builtin.DefaultHamtBitwidth)
	if err != nil {
		return nil, fmt.Errorf("load actors of state root %s: %w", root, err)
	}
	return newTree(buf, m), nil
}

// New makes an empty tree in buf.
func New(ctx context.Context, buf *Buffer) (*Tree, error) {
	if _, err := buf.PutRaw(0x71, emptyArray); err != nil {
		return nil, err
	}
	m, err := adt.MakeEmptyMap(buf.ADT(ctx), builtin.DefaultHamtBitwidth)
	if err != nil {
		return nil, fmt.Errorf("make empty state tree: %w", err)
	}
	return newTree(buf, m), nil
}

func newTree(buf *Buffer, m *adt.Map) *Tree {
	return &Tree{buf: buf, hamt: m, cache: make(map[abi.ActorID]entry),
		resolve: make(map[address.Address]abi.ActorID)}
}

func decodeRoot(data []byte) (cid.Cid, error) {
	r := cbg.NewCborReader(bytes.NewReader(data))
	maj, n, err := r.ReadHeader()
	if err != nil || maj != cbg.MajArray || n != 3 {
		return cid.Undef, errors.New("not a versioned state root")
	}
	maj, v, err := r.ReadHeader()
	if err != nil || maj != cbg.MajUnsignedInt || v != Version {
		return cid.Undef, fmt.Errorf("state tree version %d: only version %d is supported", v, Version)
	}
	return cbg.ReadCid(r)
}

// Buffer is the block buffer under the tree.
func (t *Tree) Buffer() *Buffer { return t.buf }

// IpldStore reads and writes CBOR objects in the machine buffer: use it to
// load an actor's head and to store an edited one before SetActor.
func (t *Tree) IpldStore() cbor.IpldStore { return t.buf.IpldStore() }

// Store is IpldStore in the form that actor state helpers take.
func (t *Tree) Store(ctx context.Context) adt.Store { return t.buf.ADT(ctx) }

func (t *Tree) load(id abi.ActorID) (*Actor, error) {
	if e, ok := t.cache[id]; ok {
		return e.actor, nil
	}
	key, err := address.NewIDAddress(uint64(id))
	if err != nil {
		return nil, fmt.Errorf("actor id %d: %w", id, err)
	}
	var a Actor
	found, err := t.hamt.Get(abi.AddrKey(key), &a)
	if err != nil {
		return nil, fmt.Errorf("read actor f0%d: %w", id, err)
	}
	e := entry{}
	if found {
		e.actor = &a
	}
	t.cache[id] = e
	return e.actor, nil
}

// Actor returns a copy of the actor with an id; false when there is none.
func (t *Tree) Actor(id abi.ActorID) (*Actor, bool, error) {
	a, err := t.load(id)
	if err != nil || a == nil {
		return nil, false, err
	}
	c := *a
	return &c, true, nil
}

// GetActor is Actor after resolving an address of any protocol.
func (t *Tree) GetActor(ctx context.Context, addr address.Address) (*Actor, bool, error) {
	id, ok, err := t.LookupID(ctx, addr)
	if err != nil || !ok {
		return nil, false, err
	}
	return t.Actor(id)
}

// SetActor inserts or replaces an actor.
func (t *Tree) SetActor(id abi.ActorID, a *Actor) error {
	c := *a
	if c.Balance.Int == nil {
		c.Balance = big.Zero()
	}
	if c.Balance.Sign() < 0 {
		return fmt.Errorf("set actor f0%d: negative balance %s", id, c.Balance)
	}
	return t.set(id, &c)
}

// DeleteActor removes an actor; its entry in the init map stays.
func (t *Tree) DeleteActor(id abi.ActorID) error { return t.set(id, nil) }

func (t *Tree) set(id abi.ActorID, a *Actor) error {
	old, err := t.load(id)
	if err != nil {
		return err
	}
	if t.depth > 0 {
		t.log = append(t.log, undo{id: id, actor: old, dirty: t.cache[id].dirty})
	}
	t.cache[id] = entry{actor: a, dirty: true}
	return nil
}

// LookupID resolves an address: ID addresses pass through even when no such
// actor exists, others go through the init actor's map.
func (t *Tree) LookupID(ctx context.Context, addr address.Address) (abi.ActorID, bool, error) {
	if addr.Protocol() == address.ID {
		id, err := address.IDFromAddress(addr)
		return abi.ActorID(id), err == nil, err
	}
	if id, ok := t.resolve[addr]; ok {
		return id, true, nil
	}
	st, _, err := t.initState(ctx)
	if err != nil {
		return 0, false, err
	}
	got, found, err := st.ResolveAddress(t.buf.ADT(ctx), addr)
	if err != nil {
		return 0, false, fmt.Errorf("look up %s in the init actor: %w", addr, err)
	}
	if !found {
		return 0, false, nil
	}
	raw, err := address.IDFromAddress(got)
	if err != nil {
		return 0, false, fmt.Errorf("look up %s in the init actor: %w", addr, err)
	}
	t.remember(addr, abi.ActorID(raw))
	return abi.ActorID(raw), true, nil
}

func (t *Tree) remember(addr address.Address, id abi.ActorID) {
	if t.depth > 0 {
		t.log = append(t.log, undo{resolve: &addr})
	}
	t.resolve[addr] = id
}

func (t *Tree) initState(ctx context.Context) (*init18.State, *Actor, error) {
	a, ok, err := t.Actor(InitActor)
	if err != nil {
		return nil, nil, err
	}
	if !ok {
		return nil, nil, errors.New("state tree has no init actor (f01)")
	}
	var st init18.State
	if err := t.IpldStore().Get(ctx, a.Head, &st); err != nil {
		return nil, nil, fmt.Errorf("read init actor state: %w", err)
	}
	return &st, a, nil
}

// RegisterAddress gives addr the next free id in the init actor's map without
// running any code, and returns the id. The actor itself is not created.
func (t *Tree) RegisterAddress(ctx context.Context, addr address.Address) (abi.ActorID, error) {
	st, a, err := t.initState(ctx)
	if err != nil {
		return 0, err
	}
	got, err := st.MapAddressToNewID(t.buf.ADT(ctx), addr)
	if err != nil {
		return 0, fmt.Errorf("register %s: %w", addr, err)
	}
	raw, err := address.IDFromAddress(got)
	if err != nil {
		return 0, fmt.Errorf("register %s: %w", addr, err)
	}
	if a.Head, err = t.IpldStore().Put(ctx, st); err != nil {
		return 0, fmt.Errorf("register %s: write init actor state: %w", addr, err)
	}
	if err := t.SetActor(InitActor, a); err != nil {
		return 0, err
	}
	t.remember(addr, abi.ActorID(raw))
	return abi.ActorID(raw), nil
}

// Begin opens a nested transaction and returns its mark.
func (t *Tree) Begin() int {
	t.depth++
	return len(t.log)
}

// Commit closes the innermost transaction and keeps its changes.
func (t *Tree) Commit() {
	if t.depth--; t.depth == 0 {
		t.log = t.log[:0]
	}
}

// Revert closes the innermost transaction and undoes everything since mark.
func (t *Tree) Revert(mark int) {
	for i := len(t.log) - 1; i >= mark; i-- {
		u := t.log[i]
		if u.resolve != nil {
			delete(t.resolve, *u.resolve)
			continue
		}
		t.cache[u.id] = entry{actor: u.actor, dirty: u.dirty}
	}
	t.log = t.log[:mark]
	t.depth--
}

// Flush writes the tree into the buffer and returns the state root. It does
// not touch the store below; see Buffer.Flush.
func (t *Tree) Flush(ctx context.Context) (cid.Cid, error) {
	if t.depth != 0 {
		return cid.Undef, ErrInTransaction
	}
	for id, e := range t.cache {
		if !e.dirty {
			continue
		}
		if err := t.write(id, e.actor); err != nil {
			return cid.Undef, err
		}
		t.cache[id] = entry{actor: e.actor}
	}
	actors, err := t.hamt.Root()
	if err != nil {
		return cid.Undef, fmt.Errorf("write state tree: %w", err)
	}
	if _, err := t.buf.PutRaw(0x71, emptyArray); err != nil {
		return cid.Undef, err
	}
	var out bytes.Buffer
	w := cbg.NewCborWriter(&out)
	for _, err := range []error{
		w.WriteMajorTypeHeader(cbg.MajArray, 3),
		w.WriteMajorTypeHeader(cbg.MajUnsignedInt, Version),
		cbg.WriteCid(w, actors), cbg.WriteCid(w, EmptyArrayHead),
	} {
		if err != nil {
			return cid.Undef, fmt.Errorf("write state root: %w", err)
		}
	}
	return t.buf.PutRaw(0x71, out.Bytes())
}

func (t *Tree) write(id abi.ActorID, a *Actor) error {
	addr, err := address.NewIDAddress(uint64(id))
	if err != nil {
		return fmt.Errorf("actor id %d: %w", id, err)
	}
	key := abi.AddrKey(addr)
	if a == nil {
		if _, err := t.hamt.TryDelete(key); err != nil {
			return fmt.Errorf("delete actor f0%d: %w", id, err)
		}
		return nil
	}
	if err := t.hamt.Put(key, a); err != nil {
		return fmt.Errorf("write actor f0%d: %w", id, err)
	}
	return nil
}

// ForEach visits all actors as of the last Flush, in HAMT order.
func (t *Tree) ForEach(fn func(id abi.ActorID, a *Actor) error) error {
	var a Actor
	return t.hamt.ForEach(&a, func(key string) error {
		addr, err := address.NewFromBytes([]byte(key))
		if err != nil {
			return fmt.Errorf("actor key %x: %w", key, err)
		}
		id, err := address.IDFromAddress(addr)
		if err != nil {
			return fmt.Errorf("actor key %x: %w", key, err)
		}
		c := a
		return fn(abi.ActorID(id), &c)
	})
}
