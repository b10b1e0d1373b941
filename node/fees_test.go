package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/big"

	"quarry/chain/msgs"
	"quarry/node/config"
)

// Each fee key bounds its own kind of message and no other, and a sender whose
// messages are stuck names the key that is to be raised.
func TestFeeKeysReachTheirSenders(t *testing.T) {
	kinds := map[string]func(FeeLimits) msgs.Config{
		"precommit": FeeLimits.preCommits, "commit": FeeLimits.commits, "post": FeeLimits.posts,
		"publish": FeeLimits.publishes, "escrow": FeeLimits.escrows,
	}
	empty := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]struct {
		kind  string
		limit func(msgs.Config) (big.Int, string)
		value int64
	}{
		"MaxPreCommitGasFee":                {"precommit", single, 7},
		"MaxCommitGasFee":                   {"commit", single, 7},
		"MaxWindowPoStGasFee":               {"post", single, 7},
		"MaxPublishDealsFee":                {"publish", single, 7},
		"MaxMarketBalanceAddFee":            {"escrow", single, 7},
		"MaxPreCommitBatchGasFee.Base":      {"precommit", ofThree, 60_000_000_000_000_007},
		"MaxPreCommitBatchGasFee.PerSector": {"precommit", ofThree, 21},
		"MaxCommitBatchGasFee.Base":         {"commit", ofThree, 90_000_000_000_000_007},
		"MaxCommitBatchGasFee.PerSector":    {"commit", ofThree, 21},
	} {
		env := "MINER_FEES_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_")) + "=7 attoFIL"
		cfg, err := config.Load(empty, []string{env})
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		set, err := MapConfig("/repo", cfg)
		if err != nil {
			t.Fatal(err)
		}
		base, err := MapConfig("/repo", config.Default())
		if err != nil {
			t.Fatal(err)
		}
		for name, of := range kinds {
			for _, limit := range []func(msgs.Config) (big.Int, string){single, ofThree} {
				got, called := limit(of(set.Fees))
				was, _ := limit(of(base.Fees))
				table, _, _ := strings.Cut(key, ".")
				mine := name == want.kind && called == "Fees."+table
				if mine && !got.Equals(big.NewInt(want.value)) {
					t.Errorf("%s: %s may cost %s", key, name, got)
				}
				if !mine && !got.Equals(was) {
					t.Errorf("%s changes what %s may cost to %s", key, name, got)
				}
			}
		}
		if _, called := want.limit(kinds[want.kind](set.Fees)); !strings.HasPrefix("Fees."+key, called) {
			t.Errorf("%s: the limit is called %s", key, called)
		}
	}
}

func single(c msgs.Config) (big.Int, string) { return c.MaxFee, c.Limit }

func ofThree(c msgs.Config) (big.Int, string) { return c.BatchFee.For(3), c.BatchLimit }
