package devnet

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"

	"quarry/api"
	"quarry/chain/fvm/state"
	"quarry/chain/genesis"
)

// Computed with lotus chain/types (ElectionProof.ComputeWinCount).
func TestWinCount(t *testing.T) {
	full := []int64{7, 4, 7, 4, 6, 5, 5, 6}
	quarter := []int64{2, 1, 2, 1, 2, 1, 1, 2}
	for k := range 8 {
		vrf := bytes.Repeat([]byte{byte(k)}, 96)
		if got := winCount(vrf, big.NewInt(1), big.NewInt(1)); got != full[k] {
			t.Errorf("vrf %d, all power: %d, want %d", k, got, full[k])
		}
		if got := winCount(vrf, big.NewInt(1), big.NewInt(4)); got != quarter[k] {
			t.Errorf("vrf %d, a quarter: %d, want %d", k, got, quarter[k])
		}
	}
	if winCount(make([]byte, 96), big.Zero(), big.NewInt(1)) != 0 || winCount(make([]byte, 96), big.NewInt(1), big.Zero()) != 0 {
		t.Error("a miner without power won")
	}
}

// Computed with lotus chain/rand (DrawRandomnessFromBase).
func TestDraw(t *testing.T) {
	entropy, _ := hex.DecodeString("4300e807")
	for tag, want := range map[crypto.DomainSeparationTag]string{
		1: "29b9e0b101fab1c1e05f0833194be97f5d9fc0286f04302bc5784f09cd7b5c1a",
		2: "df1bd35abdc784ecfe3df7d4b23b6040e5b66a3ab945eb3c5e145ac0b31aee88",
		3: "4efb24b68d42c64e2a81f5942ebb0953a11cfab7d4e8166b7e6ff4f15ab276c6",
		4: "b41efeb81e27f2ef2dfa2b8ad69646eaf30cb6e59e64e0edf3a8ef505934b841",
		9: "30ce3aff421fb06ab8a2d71c422b1c250f014685f108e93781525597886c65c1",
	} {
		if got := hex.EncodeToString(draw(make([]byte, 96), tag, 100, entropy)); got != want {
			t.Errorf("tag %d: %s, want %s", tag, got, want)
		}
	}
	a, _ := address.NewIDAddress(1000)
	if e, err := minerEntropy(a); err != nil || !bytes.Equal(e, entropy) {
		t.Errorf("entropy %x, %v", e, err)
	}
}

func TestBaseFee(t *testing.T) {
	from, _ := address.NewIDAddress(100)
	msg := func(nonce uint64, limit, premium int64) *api.Message {
		return &api.Message{
			From:       from,
			Nonce:      nonce,
			GasLimit:   limit,
			GasFeeCap:  big.NewInt(1 << 60),
			GasPremium: big.NewInt(premium),
		}
	}
	for _, c := range []struct {
		name string
		base int64
		msgs []*api.Message
		want int64
	}{
		{"empty falls by an eighth", 800, nil, 700},
		{"never below the floor", 100, nil, 100},
		{"little gas counts as premium zero", 800, []*api.Message{msg(0, 1_000_000, 1000)}, 700},
		{"full of high premiums rises by an eighth", 800, []*api.Message{msg(0, blockGasLimit, 1000)}, 900},
		{"a premium of an eighth holds it", 800, []*api.Message{msg(0, blockGasLimit, 100)}, 800},
		{"one nonce counts once", 800, []*api.Message{msg(0, 5e9, 1000), msg(0, 5e9, 1000)}, 700},
	} {
		if got := nextBaseFee(big.NewInt(c.base), [][]*api.Message{c.msgs}); !got.Equals(big.NewInt(c.want)) {
			t.Errorf("%s: %s, want %d", c.name, got, c.want)
		}
	}
}

func TestTipsetWeight(t *testing.T) {
	ts := &api.TipSet{Blocks: []*api.BlockHeader{
		{ParentWeight: big.NewInt(1000), ElectionProof: &api.ElectionProof{WinCount: 2}},
		{ParentWeight: big.NewInt(1000), ElectionProof: &api.ElectionProof{WinCount: 3}},
	}}
	// log2(4096) = 12: 1000 + 12*256 + 12*256*5/10
	if got := tipsetWeight(ts, big.NewInt(4096)); !got.Equals(big.NewInt(1000 + 3072 + 1536)) {
		t.Errorf("weight %s", got)
	}
}

// The genesis of a fixed seed never changes: a difference means that state,
// header or actors differ.
func TestGenesisIsDeterministic(t *testing.T) {
	a, b := newFixture(t, "fixed").open(t), newFixture(t, "fixed").open(t)
	if a.params.Genesis != b.params.Genesis {
		t.Fatal("two genesis blocks of one seed differ")
	}
	const want = "bafy2bzacecahbarq7f6gdg4kc6ajtrtpocy5alxfwy72t2tf7zc6l7gth7m6s"
	if got := a.params.Genesis.String(); got != want {
		t.Errorf("genesis %s, want %s", got, want)
	}
	h, err := a.ledger.header(t.Context(), a.params.Genesis)
	if err != nil || h.Parents[0] != genesis.Parent || h.Height != 0 {
		t.Errorf("header %+v, %v", h, err)
	}
	total := big.Zero()
	v, err := a.headView(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := v.tree.ForEach(func(_ abi.ActorID, act *state.Actor) error {
		total = big.Add(total, act.Balance)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !total.Equals(maxValue) {
		t.Errorf("all balances are %s attoFIL, want %s", total, maxValue)
	}
}
