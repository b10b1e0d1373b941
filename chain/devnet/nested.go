package devnet

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/util/adt"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"
)

// unmarshalable is a pointer to T that reads itself from CBOR.
type unmarshalable[T any] interface {
	*T
	cbg.CBORUnmarshaler
}

// listed reads a map of maps of the verified registry: by owner, then by number.
// It is what one owner has there, or everything for address.Undef.
func listed[K ~uint64, T any, P unmarshalable[T]](
	ctx context.Context, n *Node, v *view, root cid.Cid, owner address.Address,
) (map[K]T, error) {
	done, err := n.listing(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	outer, err := adt.AsMap(v.store, root, builtin.DefaultHamtBitwidth)
	if err != nil {
		return nil, fmt.Errorf("verified registry: %w", err)
	}
	out := map[K]T{}
	var inner cbg.CborCid
	if owner != address.Undef {
		found, err := outer.Get(abi.IdAddrKey(owner), &inner)
		if err != nil || !found {
			return out, err
		}
		return out, gatherInto[K, T, P](ctx, v, cid.Cid(inner), out)
	}
	err = outer.ForEach(&inner, func(string) error { return gatherInto[K, T, P](ctx, v, cid.Cid(inner), out) })
	if err != nil {
		return nil, err
	}
	return out, nil
}

func gatherInto[K ~uint64, T any, P unmarshalable[T]](ctx context.Context, v *view, root cid.Cid, out map[K]T) error {
	m, err := adt.AsMap(v.store, root, builtin.DefaultHamtBitwidth)
	if err != nil {
		return fmt.Errorf("verified registry: %w", err)
	}
	var one T
	return m.ForEach(P(&one), func(key string) error {
		if len(out) >= maxRows {
			return errTooMany("list of the verified registry", "ask for single rows")
		}
		k, err := abi.ParseUIntKey(key)
		if err != nil {
			return fmt.Errorf("verified registry: %w", err)
		}
		out[K(k)] = one
		return ctx.Err()
	})
}
