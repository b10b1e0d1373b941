package state

import (
	"context"
	"errors"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"
)

type memStore map[cid.Cid][]byte

func (s memStore) Get(_ context.Context, c cid.Cid) ([]byte, error) {
	b, ok := s[c]
	if !ok {
		return nil, errors.New("block not found")
	}
	return b, nil
}
func (s memStore) Put(_ context.Context, c cid.Cid, b []byte) error { s[c] = b; return nil }
func (s memStore) Has(_ context.Context, c cid.Cid) (bool, error)   { _, ok := s[c]; return ok, nil }

func TestTransactionsAndFlush(t *testing.T) {
	ctx := context.Background()
	store := memStore{}
	buf := NewBuffer(store)
	tree, err := New(ctx, buf)
	if err != nil {
		t.Fatal(err)
	}
	set := func(id uint64, balance int64) {
		t.Helper()
		if err := tree.SetActor(abi.ActorID(id), &Actor{Code: EmptyArrayHead, Head: EmptyArrayHead,
			Balance: big.NewInt(balance)}); err != nil {
			t.Fatal(err)
		}
	}
	balance := func(tr *Tree, id uint64) int64 {
		t.Helper()
		a, ok, err := tr.Actor(abi.ActorID(id))
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return -1
		}
		return a.Balance.Int64()
	}
	set(100, 1)
	outer := tree.Begin()
	set(100, 2)
	inner := tree.Begin()
	set(100, 3)
	set(101, 7)
	if _, err := tree.Flush(ctx); !errors.Is(err, ErrInTransaction) {
		t.Fatalf("flush inside a transaction: %v", err)
	}
	tree.Revert(inner)
	if balance(tree, 100) != 2 || balance(tree, 101) != -1 {
		t.Fatal("inner revert")
	}
	kept := tree.Begin()
	set(102, 9)
	_ = kept
	tree.Commit()
	tree.Revert(outer)
	if balance(tree, 100) != 1 || balance(tree, 102) != -1 {
		t.Fatal("outer revert")
	}
	root, err := tree.Flush(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := buf.Flush(ctx, root); err != nil {
		t.Fatal(err)
	}
	again, err := Load(ctx, NewBuffer(store), root)
	if err != nil {
		t.Fatal(err)
	}
	if balance(again, 100) != 1 || balance(again, 101) != -1 {
		t.Fatal("reloaded state differs")
	}
	if err := tree.SetActor(5, &Actor{Balance: big.NewInt(-1)}); err == nil {
		t.Fatal("negative balance accepted")
	}
}
