package fvm

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/chain/fvm/bundle"
	"quarry/chain/fvm/gas"
	"quarry/chain/fvm/state"
)

// Machine executes messages over one state. It belongs to one goroutine. After
// an error from Apply or ApplyImplicit it must be thrown away.
type Machine struct {
	engine *Engine
	cfg    MachineConfig
	deps   Deps
	prices *gas.Prices
	buf    *state.Buffer
	tree   *state.Tree
	actors actorSet
	events []cid.Cid // roots to keep at the next flush
}

// actorSet is the manifest by name, type number and code.
type actorSet struct {
	list   []bundle.Entry
	code   map[string]cid.Cid
	number map[cid.Cid]uint32
}

func newActorSet(list []bundle.Entry) actorSet {
	s := actorSet{list: list, code: make(map[string]cid.Cid), number: make(map[cid.Cid]uint32)}
	for i, e := range list {
		s.code[e.Name], s.number[e.Code] = e.Code, uint32(i+1)
	}
	return s
}

// NewMachine opens the state under cfg.StateRoot, or an empty tree when that
// is undefined. All writes stay in memory until Flush.
func (e *Engine) NewMachine(ctx context.Context, cfg MachineConfig, deps Deps) (*Machine, error) {
	if deps.Store == nil || deps.Externs == nil || deps.Proofs == nil {
		return nil, errors.New("new machine: store, externs and proofs are all needed")
	}
	prices, err := gas.ForVersion(cfg.NetworkVersion)
	if err != nil {
		return nil, fmt.Errorf("new machine: %w", err)
	}
	if cfg.BaseFee.Int == nil {
		cfg.BaseFee = big.Zero()
	}
	if cfg.CircSupply.Int == nil {
		cfg.CircSupply = big.Zero()
	}
	m := &Machine{
		engine: e,
		cfg:    cfg,
		deps:   deps,
		prices: prices,
		buf:    state.NewBuffer(deps.Store),
	}
	if !cfg.StateRoot.Defined() {
		// Genesis: the built-in manifest, until there is a system actor.
		m.actors = newActorSet(e.bundle.Actors)
		m.tree, err = state.New(ctx, m.buf)
		return m, err
	}
	if m.tree, err = state.Load(ctx, m.buf, cfg.StateRoot); err != nil {
		return nil, fmt.Errorf("new machine at epoch %d: %w", cfg.Epoch, err)
	}
	list, err := m.manifest(ctx)
	if err != nil {
		return nil, fmt.Errorf("new machine at epoch %d: %w", cfg.Epoch, err)
	}
	m.actors = newActorSet(list)
	return m, nil
}

// manifest reads the list of built-in actors that the system actor names.
func (m *Machine) manifest(ctx context.Context) ([]bundle.Entry, error) {
	a, ok, err := m.tree.Actor(0)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errors.New("state has no system actor (f00)")
	}
	st, err := m.buf.Get(ctx, a.Head)
	if err != nil {
		return nil, fmt.Errorf("system actor state: %w", err)
	}
	r := cbg.NewCborReader(bytes.NewReader(st))
	if maj, n, err := r.ReadHeader(); err != nil || maj != cbg.MajArray || n != 1 {
		return nil, errors.New("system actor state is not a single field")
	}
	c, err := cbg.ReadCid(r)
	if err != nil {
		return nil, fmt.Errorf("system actor state: %w", err)
	}
	if c.Equals(m.engine.bundle.ManifestData) {
		return m.engine.bundle.Actors, nil
	}
	data, err := m.buf.Get(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("actors manifest: %w", err)
	}
	return bundle.DecodeManifestData(data)
}

// State gives access to the actors, for reading and for the host edits that
// genesis makes. Changes are part of the next Flush.
func (m *Machine) State() *state.Tree { return m.tree }

// Flush writes the state tree and copies new reachable blocks, and the event
// AMTs of executed messages, to the store. It returns the state root.
func (m *Machine) Flush(ctx context.Context) (cid.Cid, error) {
	root, err := m.tree.Flush(ctx)
	if err != nil {
		return cid.Undef, fmt.Errorf("flush state at epoch %d: %w", m.cfg.Epoch, err)
	}
	for _, c := range append(m.events, root) {
		if err := m.buf.Flush(ctx, c); err != nil {
			return cid.Undef, fmt.Errorf("flush state at epoch %d: %w", m.cfg.Epoch, err)
		}
	}
	m.events = nil
	return root, nil
}

// Root writes the state tree into the machine's buffer only and returns the
// state root: for queries and tests that must leave the store alone.
func (m *Machine) Root(ctx context.Context) (cid.Cid, error) { return m.tree.Flush(ctx) }
