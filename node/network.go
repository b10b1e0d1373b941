package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ipfs/go-datastore"

	"quarry/api"
	"quarry/internal/printable"
	"quarry/node/repo"
)

// networkID is the chain a repo belongs to.
type networkID struct {
	Network string // its name
	Genesis string // CID of the genesis block
}

// networkKey holds a networkID as JSON, in the node's prefix, from the first start
// on: another network has the same addresses for other things.
var networkKey = datastore.NewKey("network")

// pinned reads to which network a repo belongs; a new one belongs to none yet.
func pinned(r *repo.Repo) (n networkID, err error) {
	b, err := r.Datastore(repo.Node).Get(context.Background(), networkKey)
	if errors.Is(err, datastore.ErrNotFound) {
		return n, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &n)
	}
	if err != nil {
		return n, fmt.Errorf("read the network of %s: %w", r.Dir(), err)
	}
	return n, nil
}

func setPinned(ctx context.Context, r *repo.Repo, n networkID) error {
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	ds := r.Datastore(repo.Node)
	if err := ds.Put(ctx, networkKey, b); err != nil {
		return fmt.Errorf("remember the network: %w", err)
	}
	return ds.Sync(ctx, networkKey)
}

// networkOf asks a full node which network it is on.
func networkOf(ctx context.Context, chain api.Chain) (n networkID, err error) {
	if n.Network, err = chain.StateNetworkName(ctx); err != nil {
		return n, fmt.Errorf("ask for the name of the network: %w", err)
	}
	genesis, err := chain.ChainGetGenesis(ctx)
	if err != nil {
		return n, fmt.Errorf("ask for the genesis block: %w", err)
	}
	if genesis == nil || len(genesis.Cids) != 1 {
		return n, errors.New("the full node names no single genesis block")
	}
	n.Genesis = genesis.Cids[0].String()
	return n, nil
}

// meetFullNode compares the full node with the chain that this repo belongs to.
func (n *Node) meetFullNode(ctx context.Context) (answer, error) {
	v, err := n.chain.Version(ctx)
	var is networkID
	if err == nil {
		is, err = networkOf(ctx, n.chain)
	}
	var perm *api.ErrPermission
	switch {
	case tokenRefused(err) || errors.As(err, &perm):
		return answer{}, wrongf("%v (FULLNODE_API_INFO is token:address)", err)
	case err != nil:
		return answer{}, err
	}
	me := n.common.identity()
	if me.Genesis != "" && (is.Network != me.Network || is.Genesis != me.Genesis) {
		return answer{}, wrongf("it is on network %s (genesis %s), but repo %s belongs to %s (genesis %s); set "+
			"FULLNODE_API_INFO to a full node of that network",
			printable.Brief(is.Network), is.Genesis, n.repo.Dir(), me.Network, me.Genesis)
	}
	return answer{version: printable.Brief(v.Version)}, nil
}

// belong remembers the network once the miner was found on it.
func (n *Node) belong(ctx context.Context) error {
	if n.pin.Genesis != "" {
		return nil
	}
	is, err := networkOf(ctx, n.chain)
	if err != nil {
		return err
	}
	if err := setPinned(ctx, n.repo, is); err != nil {
		return err
	}
	n.pin = is
	n.common.learn(func(in *api.Introduction) { in.Network, in.Genesis = is.Network, is.Genesis })
	return nil
}
