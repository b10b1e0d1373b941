package election

import (
	"bytes"
	"encoding/hex"
	"math"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
)

func TestDrawVectors(t *testing.T) {
	miner, err := address.NewIDAddress(1000)
	if err != nil {
		t.Fatal(err)
	}
	entropy, err := Entropy(miner)
	if err != nil || hex.EncodeToString(entropy) != "4300e807" {
		t.Fatalf("entropy of f01000 = %x, %v", entropy, err)
	}
	base := make([]byte, 96)
	for _, v := range []struct {
		tag     crypto.DomainSeparationTag
		entropy []byte
		want    string
	}{
		{crypto.DomainSeparationTag_TicketProduction, entropy, "29b9e0b101fab1c1e05f0833194be97f5d9fc0286f04302bc5784f09cd7b5c1a"},
		{crypto.DomainSeparationTag_ElectionProofProduction, entropy, "df1bd35abdc784ecfe3df7d4b23b6040e5b66a3ab945eb3c5e145ac0b31aee88"},
		{crypto.DomainSeparationTag_WinningPoStChallengeSeed, entropy, "4efb24b68d42c64e2a81f5942ebb0953a11cfab7d4e8166b7e6ff4f15ab276c6"},
		{crypto.DomainSeparationTag_WindowedPoStChallengeSeed, entropy, "b41efeb81e27f2ef2dfa2b8ad69646eaf30cb6e59e64e0edf3a8ef505934b841"},
		{crypto.DomainSeparationTag_PoStChainCommit, entropy, "30ce3aff421fb06ab8a2d71c422b1c250f014685f108e93781525597886c65c1"},
		{crypto.DomainSeparationTag_PoStChainCommit, nil, "7ceabe501abf42317b36ed6070f47b1f571db3ec608cec06a906066f6c3512d3"},
	} {
		if got := hex.EncodeToString(Draw(base, v.tag, 100, v.entropy)); got != v.want {
			t.Errorf("tag %d: %s, want %s", v.tag, got, v.want)
		}
	}
}

// Computed with lotus v1.36.2, ElectionProof.ComputeWinCount.
func TestWinCountVectors(t *testing.T) {
	full := []int64{7, 4, 7, 4, 6, 5, 5, 6}
	quarter := []int64{2, 1, 2, 1, 2, 1, 1, 2}
	for k := range full {
		vrf := bytes.Repeat([]byte{byte(k)}, 96)
		if got := WinCount(vrf, big.NewInt(1), big.NewInt(1)); got != full[k] {
			t.Errorf("byte %d, all power: %d, want %d", k, got, full[k])
		}
		if got := WinCount(vrf, big.NewInt(1), big.NewInt(4)); got != quarter[k] {
			t.Errorf("byte %d, a quarter: %d, want %d", k, got, quarter[k])
		}
	}
}

func TestWinCountEdges(t *testing.T) {
	vrf := bytes.Repeat([]byte{1}, 96)
	for name, c := range map[string][2]abi.StoragePower{
		"no power":       {big.Zero(), big.NewInt(10)},
		"no network":     {big.NewInt(1), big.Zero()},
		"negative power": {big.NewInt(-1), big.NewInt(10)},
		"unset":          {abi.StoragePower{}, abi.StoragePower{}},
	} {
		if got := WinCount(vrf, c[0], c[1]); got != 0 {
			t.Errorf("%s wins %d", name, got)
		}
	}
}

// The mean over many draws is the rate, and more power never wins less.
func TestWinCountDistribution(t *testing.T) {
	const n = 4000
	sum := map[int64]int64{1: 0, 4: 0}
	for i := range n {
		vrf := []byte{byte(i), byte(i >> 8)}
		small, large := WinCount(vrf, big.NewInt(1), big.NewInt(10)), WinCount(vrf, big.NewInt(4), big.NewInt(10))
		if small > large {
			t.Fatalf("draw %d: a tenth wins %d, four tenths win %d", i, small, large)
		}
		sum[1] += small
		sum[4] += large
	}
	for power, total := range sum {
		mean, want := float64(total)/n, float64(power)/10*BlocksPerEpoch
		if math.Abs(mean-want) > 0.1 {
			t.Errorf("power %d/10 wins %.3f an epoch, want about %.3f", power, mean, want)
		}
	}
}

func TestTicketQuality(t *testing.T) {
	if got := TicketQuality(bytes.Repeat([]byte{7}, 96)); got != 0.6802745018752259 {
		t.Errorf("quality %v", got)
	}
}

func FuzzWinCount(f *testing.F) {
	f.Add([]byte{1}, int64(1), int64(4))
	f.Fuzz(func(t *testing.T, vrf []byte, power, total int64) {
		if got := WinCount(vrf, big.NewInt(power), big.NewInt(total)); got < 0 || got > MaxWins {
			t.Errorf("%d wins", got)
		}
	})
}
