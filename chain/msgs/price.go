package msgs

import (
	"fmt"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"

	"quarry/api"
)

// replacePercent of the old premium, and one more, is what a replacement offers:
// the default of Lotus's pool (lotus chain/messagepool, ReplaceByFeePercentageDefault);
// pools take 110 percent at the least.
const replacePercent = 125

// defaultMaxFee is what Lotus's nodes allow where no limit is given
// (lotus node/config/def.go, DefaultMaxFee): 0.07 FIL.
var defaultMaxFee = big.NewInt(70_000_000_000_000_000)

// Fee is a limit that grows with the number of sectors in a message.
type Fee struct {
	Base      abi.TokenAmount // attoFIL
	PerSector abi.TokenAmount // attoFIL
}

// For is the limit of a message with so many sectors, attoFIL; zero leaves it
// to the node.
func (f Fee) For(sectors int) abi.TokenAmount {
	return big.Add(orZero(f.Base), big.Mul(orZero(f.PerSector), big.NewInt(int64(sectors))))
}

// limit is the most that the message of a record may cost, attoFIL; zero leaves
// it to the node. It is that of today's configuration: who raises it frees what
// is stuck.
func (s *Sender) limit(r record) abi.TokenAmount {
	if r.Sectors > 0 {
		return s.cfg.BatchFee.For(r.Sectors)
	}
	return s.cfg.MaxFee
}

// dearer prices a replacement of old: a premium that pools accept and no less
// than the node's estimate, and a cap with room for the base fee to rise. why is
// not empty when maxFee, the most that gas may cost in attoFIL, stands in the way.
func dearer(old, estimate *api.Message, baseFee, maxFee abi.TokenAmount) (m *api.Message, why string) {
	if maxFee.IsZero() {
		maxFee = defaultMaxFee
	}
	next := *old
	raised := big.Add(big.Div(big.Mul(old.GasPremium, big.NewInt(replacePercent)), big.NewInt(100)), big.NewInt(1))
	next.GasPremium = big.Max(raised, estimate.GasPremium)
	room := big.Add(estimate.GasFeeCap, big.Sub(next.GasPremium, estimate.GasPremium))
	next.GasFeeCap = big.Max(room, old.GasFeeCap)
	top := big.Div(maxFee, big.NewInt(max(old.GasLimit, 1)))
	next.GasFeeCap = big.Min(next.GasFeeCap, top)
	switch {
	case next.GasFeeCap.LessThan(baseFee):
		return nil, fmt.Sprintf("the base fee of %s attoFIL is above the %s that a limit of %s allows for %d units of gas",
			baseFee, top, fil(maxFee), old.GasLimit)
	case next.GasFeeCap.LessThan(raised):
		return nil, fmt.Sprintf("a replacement must offer a premium of %s attoFIL, a limit of %s allows %s for %d units of gas",
			raised, fil(maxFee), top, old.GasLimit)
	}
	next.GasPremium = big.Min(next.GasPremium, next.GasFeeCap)
	return &next, ""
}

// fil writes an amount as the configuration has it.
func fil(v abi.TokenAmount) string {
	whole, rest := big.Div(v, builtin.TokenPrecision), big.Mod(v, builtin.TokenPrecision)
	if rest.IsZero() {
		return whole.String() + " FIL"
	}
	digits := rest.String()
	digits = strings.TrimRight(strings.Repeat("0", 18-len(digits))+digits, "0")
	return whole.String() + "." + digits + " FIL"
}
