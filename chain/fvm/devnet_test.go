package fvm

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/account"
	"github.com/filecoin-project/go-state-types/builtin/v18/cron"
	"github.com/filecoin-project/go-state-types/builtin/v18/power"
	"github.com/filecoin-project/go-state-types/builtin/v18/system"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/api"
	"quarry/chain/fvm/bundle"
	"quarry/chain/fvm/state"
	"quarry/internal/filcrypto"
)

func fil(n int64) abi.TokenAmount { return big.Mul(big.NewInt(n), big.NewInt(1e18)) }

func idAddr(t testing.TB, n uint64) address.Address {
	t.Helper()
	a, err := address.NewIDAddress(n)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func encode(t testing.TB, v cbg.CBORMarshaler) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := v.MarshalCBOR(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func keyAddr(t testing.TB, typ crypto.SigType, seed byte) address.Address {
	t.Helper()
	a, err := filcrypto.PublicAddress(typ, bytes.Repeat([]byte{seed}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// world is a small devnet state: singletons by their constructors, one funded
// account with a BLS key.
type world struct {
	t      testing.TB
	e      *Engine
	store  memStore
	m      *Machine
	owner  address.Address
	epoch  abi.ChainEpoch
	nonces map[address.Address]uint64
}

func newWorld(t testing.TB, e *Engine) *world {
	w := &world{
		t:      t,
		e:      e,
		store:  memStore{},
		owner:  keyAddr(t, crypto.SigTypeBLS, 1),
		nonces: map[address.Address]uint64{},
	}
	for _, b := range e.Bundle().Blocks {
		w.store[b.Cid] = b.Data
	}
	w.open(cid.Undef)
	ctx := context.Background()
	tree := w.m.State()
	put := func(id abi.ActorID, name string, head cbg.CBORMarshaler, balance abi.TokenAmount) {
		code, ok := e.Bundle().Code(name)
		if !ok {
			t.Fatalf("no %s", name)
		}
		a := &state.Actor{Code: code, Head: state.EmptyArrayHead, Balance: balance}
		if head != nil {
			var err error
			if a.Head, err = tree.IpldStore().Put(ctx, head); err != nil {
				t.Fatal(err)
			}
		}
		if err := tree.SetActor(id, a); err != nil {
			t.Fatal(err)
		}
	}
	put(0, "system", &system.State{BuiltinActors: e.Bundle().ManifestData}, big.Zero())
	for id, name := range map[abi.ActorID]string{1: "init", 3: "cron", 4: "storagepower", 5: "storagemarket", 6: "verifiedregistry",
		7: "datacap"} {
		put(id, name, nil, big.Zero())
	}
	put(2, "reward", nil, fil(1_100_000_000))
	put(99, "account", &account.State{Address: idAddr(t, 99)}, big.Zero())
	put(80, "account", &account.State{Address: keyAddr(t, crypto.SigTypeSecp256k1, 80)}, big.Zero())
	zero := big.Zero()
	root, datacap := idAddr(t, 80), idAddr(t, 6)
	for _, c := range []struct {
		to     uint64
		params []byte
	}{
		{1, append([]byte{0x81, 0x64}, "test"...)},
		{2, encode(t, &zero)},
		{3, encode(t, &cron.State{Entries: []cron.Entry{{Receiver: idAddr(t, 4), MethodNum: 5}, {Receiver: idAddr(t, 5), MethodNum: 9}}})},
		{4, nil}, {5, nil},
		{6, encode(t, &root)}, {7, encode(t, &datacap)},
	} {
		w.implicit(idAddr(t, 0), idAddr(t, c.to), 1, c.params)
	}
	id, err := tree.RegisterAddress(ctx, w.owner)
	if err != nil {
		t.Fatal(err)
	}
	put(id, "account", &account.State{Address: w.owner}, fil(1000))
	return w
}

func (w *world) open(root cid.Cid) {
	w.t.Helper()
	m, err := w.e.NewMachine(context.Background(), MachineConfig{
		Epoch:          w.epoch,
		Timestamp:      1000 + uint64(w.epoch),
		BaseFee:        big.NewInt(100),
		NetworkVersion: 28,
		ChainID:        31415926,
		StateRoot:      root,
	},
		Deps{Store: w.store, Externs: digests{}, Proofs: proofs(true)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.m = m
}

func (w *world) implicit(from, to address.Address, method abi.MethodNum, params []byte) *Result {
	w.t.Helper()
	r, err := w.m.ApplyImplicit(context.Background(), &api.Message{
		From:       from,
		To:         to,
		Method:     method,
		Params:     params,
		Value:      big.Zero(),
		GasFeeCap:  big.Zero(),
		GasPremium: big.Zero(),
		Nonce:      uint64(w.epoch),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if r.ExitCode != 0 {
		w.t.Fatalf("%s method %d: exit %d\n%s", to, method, r.ExitCode, r.Backtrace)
	}
	return r
}

func (w *world) send(to address.Address, value abi.TokenAmount, method abi.MethodNum, params []byte, limit int64) *Result {
	w.t.Helper()
	msg := &api.Message{
		From:       w.owner,
		To:         to,
		Nonce:      w.nonces[w.owner],
		Value:      value,
		GasLimit:   limit,
		GasFeeCap:  big.NewInt(1000),
		GasPremium: big.NewInt(10),
		Method:     method,
		Params:     params,
	}
	r, err := w.m.Apply(context.Background(), msg, msg.ChainLength())
	if err != nil {
		w.t.Fatal(err)
	}
	if r.GasUsed > 0 {
		w.nonces[w.owner]++
	}
	return r
}

// next flushes and opens the machine of the following epoch after its cron.
func (w *world) next() cid.Cid {
	w.t.Helper()
	w.implicit(idAddr(w.t, 0), idAddr(w.t, 3), 2, nil)
	root, err := w.m.Flush(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	w.epoch++
	w.open(root)
	return root
}

// life runs a fixed scenario and returns the state root and the gas used.
func life(t testing.TB, e *Engine) (cid.Cid, []int64) {
	w := newWorld(t, e)
	w.next()
	var used []int64
	ok := func(r *Result) *Result {
		t.Helper()
		if r.ExitCode != 0 {
			t.Fatalf("exit %d\n%s", r.ExitCode, r.Backtrace)
		}
		used = append(used, r.GasUsed)
		return r
	}
	worker := keyAddr(t, crypto.SigTypeBLS, 2)
	ok(w.send(worker, fil(1), 0, nil, 10_000_000))
	ok(w.send(worker, fil(1), 0, nil, 10_000_000))
	r := ok(w.send(idAddr(t, 4), fil(10), 2, encode(t, &power.CreateMinerParams{Owner: w.owner, Worker: worker,
		WindowPoStProofType: abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1, Peer: []byte("peer")}), 100_000_000))
	var ret power.CreateMinerReturn
	if err := ret.UnmarshalCBOR(bytes.NewReader(r.Return)); err != nil {
		t.Fatal(err)
	}
	a, found, err := w.m.State().GetActor(context.Background(), ret.RobustAddress)
	if err != nil || !found {
		t.Fatalf("miner %s: %v %v", ret.RobustAddress, found, err)
	}
	if c, _ := e.Bundle().Code("storageminer"); a.Code != c {
		t.Fatalf("miner has code %s", a.Code)
	}
	w.next()
	w.next()
	return w.next(), used
}

func devnetEngine(t testing.TB, cfg EngineConfig) *Engine {
	t.Helper()
	e, err := NewEngine(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}

// TestDevnetLife runs the official v18 devnet actors; the interpreter must
// come to the same state and gas as compiled code.
func TestDevnetLife(t *testing.T) {
	dir := t.TempDir()
	root, used := life(t, devnetEngine(t, EngineConfig{CacheDir: dir}))
	t.Logf("state %s, gas %v", root, used)
	again, used2 := life(t, devnetEngine(t, EngineConfig{CacheDir: dir, Interpreter: true}))
	if root != again || len(used) != len(used2) {
		t.Fatalf("interpreter: state %s, gas %v", again, used2)
	}
	for i := range used {
		if used[i] != used2[i] {
			t.Fatalf("interpreter: gas %v, compiled %v", used2, used)
		}
	}
}

func TestFailures(t *testing.T) {
	w := newWorld(t, devnetEngine(t, EngineConfig{}))
	w.next()
	f2, err := address.NewActorAddress([]byte("nobody"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		to     address.Address
		value  abi.TokenAmount
		method abi.MethodNum
		limit  int64
		want   exitcode.ExitCode
	}{
		{"unknown actor", f2, big.Zero(), 0, 10_000_000, exitcode.SysErrInvalidReceiver},
		{"too much value", idAddr(t, 99), fil(5000), 0, 10_000_000, exitcode.SysErrInsufficientFunds},
		{"limit below inclusion", idAddr(t, 99), big.Zero(), 0, 1000, exitcode.SysErrOutOfGas},
		{"out of gas inside", idAddr(t, 4), big.Zero(), 2, 1_000_000, exitcode.SysErrOutOfGas},
		{"unknown method", idAddr(t, 4), big.Zero(), 12345, 30_000_000, exitcode.ErrUnhandledMessage},
		{"constructor by a user", idAddr(t, 4), big.Zero(), 1, 30_000_000, exitcode.ErrForbidden},
	} {
		r := w.send(c.to, c.value, c.method, nil, c.limit)
		if r.ExitCode != c.want || r.Backtrace == "" && c.want != exitcode.SysErrOutOfGas {
			t.Errorf("%s: exit %d, want %d (%s)", c.name, r.ExitCode, c.want, r.Backtrace)
		}
	}
	// A refused message takes nothing.
	before, _, err := w.m.State().GetActor(context.Background(), w.owner)
	if err != nil {
		t.Fatal(err)
	}
	w.nonces[w.owner] += 5
	if r := w.send(idAddr(t, 99), big.Zero(), 0, nil, 10_000_000); r.ExitCode != exitcode.SysErrSenderStateInvalid ||
		r.Outputs.MinerPenalty.Sign() <= 0 {
		t.Errorf("wrong nonce: exit %d, penalty %s", r.ExitCode, r.Outputs.MinerPenalty)
	}
	after, _, err := w.m.State().GetActor(context.Background(), w.owner)
	if err != nil {
		t.Fatal(err)
	}
	if !before.Balance.Equals(after.Balance) || before.CallSeqNum != after.CallSeqNum {
		t.Error("a refused message changed its sender")
	}
}

// TestBundle checks the built-in archive against its published CIDs.
func TestBundle(t *testing.T) {
	b, err := bundle.Devnet()
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Actors) != 16 || len(b.Blocks) != 18 {
		t.Fatalf("%d actors in %d blocks", len(b.Actors), len(b.Blocks))
	}
	if b.ManifestData.String() != "bafy2bzacebpmfblssoxmmtc5g3md54tpjf7a2q2avm37wdh35533w6akw5y6o" {
		t.Fatalf("manifest data %s", b.ManifestData)
	}
	names := make([]string, len(b.Actors))
	for i, a := range b.Actors {
		names[i] = a.Name
	}
	want := "system init cron account storagepower storageminer storagemarket paymentchannel multisig reward verifiedregistry " +
		"datacap placeholder evm eam ethaccount"
	if got := strings.Join(names, " "); got != want {
		t.Fatalf("actors: %s", got)
	}
}
