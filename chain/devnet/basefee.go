package devnet

import (
	"slices"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"quarry/api"
)

// Gas constants (lotus build/buildconstants/params_shared_vals.go).
const (
	blockGasLimit      = 10_000_000_000
	blockGasTargetIdx  = blockGasLimit*80/100 - 1
	minimumBaseFee     = 100
	baseFeeDenominator = 8
)

// effectivePremium is what a message pays above the base fee, per gas unit;
// negative when its cap is below the base fee.
func effectivePremium(m *api.Message, baseFee abi.TokenAmount) abi.TokenAmount {
	return big.Min(big.Sub(m.GasFeeCap, baseFee), m.GasPremium)
}

// nextBaseFee is the FIP-0115 rule: the premium at 80% of a block's gas, by
// descending premium, decides whether the fee rises or falls by an eighth.
func nextBaseFee(base abi.TokenAmount, perBlock [][]*api.Message) abi.TokenAmount {
	type key struct {
		from  address.Address
		nonce uint64
	}
	type item struct {
		premium abi.TokenAmount
		limit   int64
	}
	seen := map[key]struct{}{}
	var items []item
	for _, msgs := range perBlock {
		for _, m := range msgs {
			k := key{m.From, m.Nonce}
			if _, dup := seen[k]; dup {
				continue
			}
			seen[k] = struct{}{}
			items = append(items, item{effectivePremium(m, base), m.GasLimit})
		}
	}
	slices.SortStableFunc(items, func(a, b item) int { return big.Cmp(b.premium, a.premium) })
	at := big.Zero()
	index := int64(blockGasTargetIdx)
	for _, it := range items {
		if index < it.limit {
			at = it.premium
			break
		}
		index -= it.limit
	}
	maxAdj := big.Div(big.Add(base, big.NewInt(baseFeeDenominator-1)), big.NewInt(baseFeeDenominator))
	return big.Max(big.NewInt(minimumBaseFee), big.Add(base, big.Min(maxAdj, big.Sub(at, maxAdj))))
}
