package msgs

import (
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"quarry/api"
)

func gas(limit, feeCap, premium int64) *api.Message {
	return &api.Message{Nonce: 7, GasLimit: limit, GasFeeCap: big.NewInt(feeCap), GasPremium: big.NewInt(premium)}
}

// Both sides of each bound: the premium that pools ask for, the base fee, the
// limit.
func TestDearer(t *testing.T) {
	for name, c := range map[string]struct {
		old, est     *api.Message
		base, limit  int64
		cap, premium int64
		why          string
	}{
		"a quarter more and one":      {gas(10, 1000, 100), gas(10, 1000, 50), 500, 1_000_000, 1076, 126, ""},
		"rounded down before the one": {gas(10, 1000, 101), gas(10, 1000, 50), 500, 1_000_000, 1077, 127, ""},
		"the estimate is more":        {gas(10, 1000, 100), gas(10, 1500, 127), 500, 1_000_000, 1500, 127, ""},
		"the estimate is as much":     {gas(10, 1000, 100), gas(10, 1500, 126), 500, 1_000_000, 1500, 126, ""},
		"no premium before":           {gas(10, 1000, 0), gas(10, 1000, 0), 500, 1_000_000, 1001, 1, ""},
		"the old cap is kept":         {gas(10, 5000, 100), gas(10, 1000, 50), 500, 1_000_000, 5000, 126, ""},
		"limit just reached":          {gas(10, 1000, 100), gas(10, 1000, 50), 500, 10_760, 1076, 126, ""},
		"limit below, cap lowered":    {gas(10, 1000, 100), gas(10, 1000, 50), 500, 10_759, 1075, 126, ""},
		"cap as high as the base fee": {gas(10, 1000, 100), gas(10, 1000, 50), 900, 9_000, 900, 126, ""},
		"cap one below the base fee": {gas(10, 1000, 100), gas(10, 1000, 50), 900, 8_999, 0, 0,
			"base fee of 900 attoFIL is above the 899"},
		"cap as high as the premium asked":  {gas(10, 1000, 100), gas(10, 1000, 50), 100, 1_260, 126, 126, ""},
		"cap one below it":                  {gas(10, 1000, 100), gas(10, 1000, 50), 100, 1_259, 0, 0, "premium of 126 attoFIL"},
		"an estimated premium above is cut": {gas(10, 1000, 100), gas(10, 9000, 5000), 100, 2_000, 200, 200, ""},
		"no gas limit":                      {gas(0, 1000, 100), gas(0, 1000, 50), 500, 1076, 1076, 126, ""},
		"no limit is the node's":            {gas(1_000_000_000, 1000, 100), gas(1_000_000_000, 1<<40, 50), 500, 0, 70_000_000, 126, ""},
		"negative never": {gas(10, 1000, 100), gas(10, 1000, 50), 500, 1, 0, 0,
			"0.000000000000000001 FIL allows for 10 units"},
	} {
		got, why := dearer(c.old, c.est, big.NewInt(c.base), big.NewInt(c.limit))
		if c.why != "" {
			if got != nil || !strings.Contains(why, c.why) {
				t.Errorf("%s: %+v, %q", name, got, why)
			}
			continue
		}
		if why != "" || got == nil {
			t.Errorf("%s: refused: %s", name, why)
			continue
		}
		if !got.GasFeeCap.Equals(big.NewInt(c.cap)) || !got.GasPremium.Equals(big.NewInt(c.premium)) ||
			got.GasLimit != c.old.GasLimit || got.Nonce != 7 {
			t.Errorf("%s: cap %s, premium %s, limit %d; want %d and %d", name, got.GasFeeCap, got.GasPremium, got.GasLimit, c.cap,
				c.premium)
		}
		most := big.NewInt(c.limit)
		if c.limit == 0 {
			most = defaultMaxFee
		}
		if c.old.GasLimit > 0 && big.Mul(got.GasFeeCap, big.NewInt(got.GasLimit)).GreaterThan(most) {
			t.Errorf("%s: costs more than the limit", name)
		}
	}
}

func TestFeeOfABatch(t *testing.T) {
	for name, c := range map[string]struct {
		fee     Fee
		sectors int
		want    string
	}{
		"both":       {Fee{big.NewInt(5), big.NewInt(7)}, 3, "26"},
		"one":        {Fee{big.NewInt(5), big.NewInt(7)}, 1, "12"},
		"base":       {Fee{Base: big.NewInt(5)}, 3, "5"},
		"per sector": {Fee{PerSector: big.NewInt(7)}, 3, "21"},
		"none":       {Fee{}, 3, "0"},
	} {
		if got := c.fee.For(c.sectors); got.String() != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	s := New(Config{MaxFee: big.NewInt(2), BatchFee: Fee{big.NewInt(5), big.NewInt(7)}}, Deps{})
	for sectors, want := range map[int]string{0: "2", 1: "12", 2: "19"} {
		if got := s.limit(record{Sectors: sectors}); got.String() != want {
			t.Errorf("%d sectors: %s, want %s", sectors, got, want)
		}
	}
}

func TestFIL(t *testing.T) {
	for want, v := range map[string]abi.TokenAmount{
		"0 FIL": big.Zero(), "0.07 FIL": defaultMaxFee, "2 FIL": big.NewInt(2e18),
		"0.000000000000000001 FIL": big.NewInt(1), "1.5 FIL": big.NewInt(15e17),
	} {
		if got := fil(v); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
