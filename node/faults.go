package node

import (
	"context"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/namespace"

	"quarry/api"
	"quarry/internal/lifecycle"
	"quarry/node/repo"
	"quarry/sealing/faults"
)

// faultBook keeps the list of faulty sectors. Why they are is asked of the
// mining part, which starts later and may not run here.
func (n *Node) faultBook(ctx context.Context) (*faults.Book, error) {
	book, err := faults.New(ctx, faults.Config{Miner: n.maddr}, faults.Deps{
		Store: namespace.Wrap(n.repo.Datastore(repo.Sealing), datastore.NewKey("/faults")),
		Chain: n.chain,
		Heads: n.heads,
		Proofs: func(ctx context.Context) (api.ProvingStatus, error) {
			m, err := n.proving.get()
			if err != nil {
				return api.ProvingStatus{}, err
			}
			return m.ProvingStatus(ctx)
		},
		Log: n.log.With("part", "faults"),
	})
	if err != nil {
		return nil, err
	}
	return book, n.group.Keep(ctx, lifecycle.Keep{Name: "faults", Run: func(ctx context.Context, up func()) error {
		up()
		return book.Run(ctx)
	}})
}
