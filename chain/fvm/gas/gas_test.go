package gas

import (
	"errors"
	"testing"

	"github.com/filecoin-project/go-state-types/big"
)

func TestTracker(t *testing.T) {
	tr := NewTracker(10)
	if err := tr.Charge(Gas(4) + 1); err != nil || tr.GasUsed() != 5 {
		t.Fatalf("%v used %d", err, tr.GasUsed())
	}
	tr.Push(Gas(2))
	if err := tr.Charge(Gas(3)); !errors.Is(err, ErrOutOfGas) {
		t.Fatal(err)
	}
	if err := tr.Pop(); err != nil || tr.Available() != Gas(4)-1 {
		t.Fatalf("%v left %d", err, tr.Available())
	}
	tr.Push(Gas(100))
	if tr.Available() != Gas(4)-1 {
		t.Fatal("a cap above what is left must not add gas")
	}
	if err := tr.Pop(); err != nil {
		t.Fatal(err)
	}
	if err := tr.Charge(1 << 62); !errors.Is(err, ErrOutOfGas) || tr.Available() != 0 {
		t.Fatal("overflow")
	}
}

// Vectors of lotus chain/vm/burn_test.go.
func TestOverestimation(t *testing.T) {
	for _, c := range []struct{ used, limit, refund, burn int64 }{
		{100, 200, 10, 90}, {100, 150, 30, 20}, {1000, 1300, 240, 60}, {500, 700, 140, 60}, {200, 200, 0, 0},
		{20_000, 21_000, 1000, 0}, {0, 2000, 0, 2000}, {500, 651, 121, 30}, {500, 5000, 0, 4500},
		{7_499_000_000, 7_500_000_000, 1_000_000, 0},
	} {
		if r, b := overestimation(c.used, c.limit); r != c.refund || b != c.burn {
			t.Errorf("%d of %d: refund %d burn %d, want %d %d", c.used, c.limit, r, b, c.refund, c.burn)
		}
	}
}

func TestOutputsAddUp(t *testing.T) {
	for _, fee := range []int64{0, 5, 50, 500} {
		o := ComputeOutputs(700, 1000, big.NewInt(50), big.NewInt(fee), big.NewInt(20))
		sum := big.Sum(o.BaseFeeBurn, o.OverEstimationBurn, o.MinerTip, o.Refund)
		if !sum.Equals(big.NewInt(fee*1000)) || o.Refund.Sign() < 0 {
			t.Errorf("fee cap %d: %+v", fee, o)
		}
		if (fee < 50) != (o.MinerPenalty.Sign() > 0) {
			t.Errorf("fee cap %d: penalty %s", fee, o.MinerPenalty)
		}
	}
}
