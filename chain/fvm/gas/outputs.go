package gas

import (
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
)

// Outputs divides what the sender of a message put up, in attoFIL. All but
// MinerPenalty add up to fee cap times gas limit.
type Outputs struct {
	BaseFeeBurn        abi.TokenAmount
	OverEstimationBurn abi.TokenAmount
	MinerPenalty       abi.TokenAmount // owed by the block producer, not the sender
	MinerTip           abi.TokenAmount
	Refund             abi.TokenAmount
	GasRefund          int64 // gas units
	GasBurned          int64 // gas units burnt for over-estimation
}

// ZeroOutputs has zeros instead of nil amounts.
func ZeroOutputs() Outputs {
	return Outputs{
		BaseFeeBurn:        big.Zero(),
		OverEstimationBurn: big.Zero(),
		MinerPenalty:       big.Zero(),
		MinerTip:           big.Zero(),
		Refund:             big.Zero(),
	}
}

// ComputeOutputs follows ref-fvm fvm/src/gas/outputs.rs (lotus
// chain/vm/burn.go).
func ComputeOutputs(used, limit int64, baseFee, feeCap, premium abi.TokenAmount) Outputs {
	out := ZeroOutputs()
	paid := baseFee
	if feeCap.LessThan(baseFee) {
		paid = feeCap
		out.MinerPenalty = big.Mul(big.Sub(baseFee, feeCap), big.NewInt(used))
	}
	out.BaseFeeBurn = big.Mul(paid, big.NewInt(used))
	tip := premium
	if room := big.Sub(feeCap, paid); room.LessThan(tip) {
		tip = room
	}
	out.MinerTip = big.Mul(tip, big.NewInt(limit))
	out.GasRefund, out.GasBurned = overestimation(used, limit)
	if out.GasBurned != 0 {
		burned := big.NewInt(out.GasBurned)
		out.OverEstimationBurn = big.Mul(paid, burned)
		out.MinerPenalty = big.Add(out.MinerPenalty, big.Mul(big.Sub(baseFee, paid), burned))
	}
	required := big.Mul(feeCap, big.NewInt(limit))
	out.Refund = big.Sub(required, big.Add(out.BaseFeeBurn, big.Add(out.MinerTip, out.OverEstimationBurn)))
	return out
}

// overestimation returns the gas refunded and the gas burnt because the limit
// exceeded 11/10 of what was used.
func overestimation(used, limit int64) (refund, burned int64) {
	if used == 0 {
		return 0, limit
	}
	over := big.Sub(big.NewInt(limit), big.Div(big.Mul(big.NewInt(11), big.NewInt(used)), big.NewInt(10)))
	if over.Sign() <= 0 {
		return limit - used, 0
	}
	if u := big.NewInt(used); over.GreaterThan(u) {
		over = u
	}
	b := big.Div(big.Mul(big.NewInt(limit-used), over), big.NewInt(used)).Int64()
	return limit - used - b, b
}
