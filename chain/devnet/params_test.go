package devnet

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/filecoin-project/go-state-types/builtin/v18/power"
	"github.com/filecoin-project/go-state-types/builtin/v18/verifreg"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/api"
)

// Parameters go from CBOR to JSON and back to the same bytes.
func TestParamsThereAndBack(t *testing.T) {
	n := newFixture(t, "params").open(t)
	a := idAddr(t, 100)
	for name, c := range map[string]struct {
		to     address.Address
		method abi.MethodNum
		params cbg.CBORMarshaler
		json   string
	}{
		"an address": {builtin.StorageMarketActorAddr, 2, &a, `"` + a.String() + `"`},
		"a struct": {builtin.StorageMarketActorAddr, 3, &market.WithdrawBalanceParams{ProviderOrClientAddress: a, Amount: big.NewInt(5)},
			`{"ProviderOrClientAddress":"` + a.String() + `","Amount":"5"}`},
		"an exported method": {builtin.VerifiedRegistryActorAddr, builtin.MustGenerateFRCMethodNum("GetClaims"),
			&verifreg.GetClaimsParams{Provider: 1000, ClaimIds: []verifreg.ClaimId{7}}, `{"Provider":1000,"ClaimIds":[7]}`},
		"none":   {builtin.CronActorAddr, 2, abi.Empty, `{}`},
		"a send": {n.params.Faucet, 0, abi.Empty, `{}`},
	} {
		raw := must[[]byte](t)(encodeParams(c.params))
		got := must[json.RawMessage](t)(n.StateDecodeParams(t.Context(), c.to, c.method, raw, nil))
		if string(got) != c.json {
			t.Errorf("%s: decoded %s, want %s", name, got, c.json)
		}
		code := must[*api.Actor](t)(n.StateGetActor(t.Context(), c.to, nil)).Code
		back := must[[]byte](t)(n.StateEncodeParams(t.Context(), code, c.method, got))
		if !bytes.Equal(back, raw) {
			t.Errorf("%s: encoded %x, want %x", name, back, raw)
		}
	}
}

// What is no parameter of the method is refused with the reason.
func TestParamsRefused(t *testing.T) {
	n := newFixture(t, "params").open(t)
	marketAddr := builtin.StorageMarketActorAddr
	a := idAddr(t, 100)
	good := must[[]byte](t)(encodeParams(&a))
	decode := func(to address.Address, method abi.MethodNum, raw []byte) error {
		_, err := n.StateDecodeParams(t.Context(), to, method, raw, nil)
		return err
	}
	code := must[*api.Actor](t)(n.StateGetActor(t.Context(), marketAddr, nil)).Code
	encode := func(code cid.Cid, method abi.MethodNum, text string) error {
		_, err := n.StateEncodeParams(t.Context(), code, method, json.RawMessage(text))
		return err
	}
	long := api.MaxMessageParams + 1
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"garbage":        {decode(marketAddr, 2, []byte{0xff}), "parameters of method 2"},
		"nothing":        {decode(marketAddr, 2, nil), "EOF"},
		"more behind":    {decode(marketAddr, 2, append(good, 0)), "1 bytes follow"},
		"no such method": {decode(marketAddr, 999, good), "the storagemarket actor has no method 999"},
		"deprecated":     {decode(builtin.VerifiedRegistryActorAddr, 5, good), "has no method 5"},
		"too long":       {decode(marketAddr, 2, make([]byte, long)), "limit 2097152"},
		"not JSON":       {encode(code, 2, `{`), "parameters of method 2"},
		"nothing at all": {encode(code, 2, ``), "EOF"},
		"unknown field":  {encode(code, 3, `{"Amount":"1","Amounts":"2"}`), "Amounts"},
		"field missing":  {encode(code, 3, `{"Amount":"1"}`), "undefined address"},
		"JSON too long":  {encode(code, 2, strings.Repeat(" ", 2*long)), "limit 2097152"},
		"unknown code":   {encode(somePiece, 2, `{}`), "no actor of this network has the code"},
		"no code":        {encode(cid.Undef, 2, `{}`), "no actor code"},
	} {
		var invalid *api.ErrInvalid
		if !errors.As(c.err, &invalid) || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, c.err, c.want)
		}
	}
	var unknown *api.ErrActorNotFound
	if err := decode(idAddr(t, 77_777), 2, good); !errors.As(err, &unknown) {
		t.Errorf("no actor: %v", err)
	}
}

// What a message returned is shown as the method's type has it; what has no known
// type, or failed, is shown as bytes.
func TestReturnsAreDecoded(t *testing.T) {
	n := newFixture(t, "params").open(t)
	step(t, n, 1)
	from := funded(t, n)
	step(t, n, 3)
	head := n.ledger.Head()
	ids := must[[]byte](t)(encodeParams(&power.CreateMinerReturn{IDAddress: idAddr(t, 1001), RobustAddress: from}))
	typed := `{"IDAddress":"` + idAddr(t, 1001).String() + `","RobustAddress":"` + from.String() + `"}`
	for name, c := range map[string]struct {
		method  abi.MethodNum
		to      address.Address
		receipt api.MessageReceipt
		want    string
	}{
		"a type":    {2, builtin.StoragePowerActorAddr, api.MessageReceipt{Return: ids}, typed},
		"failed":    {2, builtin.StoragePowerActorAddr, api.MessageReceipt{Return: []byte{1}, ExitCode: 16}, `"AQ=="`},
		"nothing":   {2, builtin.StoragePowerActorAddr, api.MessageReceipt{}, `null`},
		"no method": {999, builtin.StoragePowerActorAddr, api.MessageReceipt{Return: []byte{1}}, `"AQ=="`},
		"not it":    {2, builtin.StoragePowerActorAddr, api.MessageReceipt{Return: []byte{1}}, `"AQ=="`},
		"nobody":    {2, idAddr(t, 88_888), api.MessageReceipt{Return: []byte{1}}, `"AQ=="`},
	} {
		m := pay(from, c.to, 0)
		m.Method = c.method
		s := must[*api.SignedMessage](t)(n.WalletSignMessage(t.Context(), from, m))
		if err := n.ledger.storeMessage(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if got := must[json.RawMessage](t)(n.decodeReturn(t.Context(), s.Cid(), &c.receipt, head)); string(got) != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// noEncoding are methods whose parameters go-state-types cannot read: one that only
// genesis calls, and one that takes a bare number.
var noEncoding = map[string]bool{"cron Constructor": true, "storageminer GetNominalSectorExpirationExported": true}

// Every method of every actor has parameters that can be read and written; of the
// EVM it is said that they cannot.
func TestEveryActorHasMethods(t *testing.T) {
	n := newFixture(t, "params").open(t)
	v, _, err := n.at(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, data, err := v.manifest(t.Context())
	if err != nil || len(data.Entries) != 16 {
		t.Fatalf("%d actors, %v", len(data.Entries), err)
	}
	for _, e := range data.Entries {
		if e.Name == "evm" {
			if _, err := v.newParams(t.Context(), e.Code, 2); err == nil || !strings.Contains(err.Error(), "not built yet") {
				t.Errorf("evm: %v", err)
			}
			continue
		}
		if methods[e.Name] == nil {
			t.Errorf("no methods of actor %s", e.Name)
		}
		for num, meta := range methods[e.Name] {
			p, err := v.newParams(t.Context(), e.Code, num)
			if bare := meta.Method == nil || noEncoding[e.Name+" "+meta.Name]; bare != (err != nil) || bare != (p == nil) {
				t.Errorf("%s %s: %v", e.Name, meta.Name, err)
			}
		}
	}
}

func FuzzDecodeParams(f *testing.F) {
	n := newFixture(f, "params").open(f)
	for _, to := range []uint64{0, 1, 2, 4, 5, 6, 7, 1000} {
		f.Add(to, uint64(2), []byte{0x82, 0x42, 0x00, 0x64, 0x42, 0x00, 0x05})
		f.Add(to, uint64(3), []byte{0x81, 0x1a, 0xff, 0xff, 0xff, 0xff})
	}
	f.Fuzz(func(t *testing.T, to, method uint64, raw []byte) {
		a, err := address.NewIDAddress(to & (1<<63 - 1))
		if err != nil {
			t.Fatal(err)
		}
		text, err := n.StateDecodeParams(t.Context(), a, abi.MethodNum(method), raw, nil)
		if err == nil && !json.Valid(text) {
			t.Errorf("%q is not JSON", text)
		}
	})
}

func FuzzEncodeParams(f *testing.F) {
	n := newFixture(f, "params").open(f)
	v, _, err := n.at(f.Context(), nil)
	if err != nil {
		f.Fatal(err)
	}
	_, data, err := v.manifest(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(9), uint64(3), `{"ProviderOrClientAddress":"t0100","Amount":"5"}`)
	f.Add(uint8(8), uint64(5), `{"Deadline":1,"Partitions":[{"Index":0,"Skipped":[0,1]}],"Proofs":null,"ChainCommitEpoch":-1}`)
	f.Add(uint8(2), uint64(1), `null`)
	f.Fuzz(func(t *testing.T, actor uint8, method uint64, text string) {
		code := data.Entries[int(actor)%len(data.Entries)].Code
		raw, err := n.StateEncodeParams(t.Context(), code, abi.MethodNum(method), json.RawMessage(text))
		if err == nil && len(raw) > api.MaxMessageParams {
			t.Errorf("%d bytes", len(raw))
		}
	})
}
