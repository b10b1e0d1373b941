package node

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/power"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"quarry/api"
	"quarry/node/repo"
)

var (
	minerID  = must(address.NewIDAddress(1000))
	blsKey   = must(address.NewBLSAddress(bytes.Repeat([]byte{1}, 48)))
	blsKey2  = must(address.NewBLSAddress(bytes.Repeat([]byte{3}, 48)))
	secpKey  = must(address.NewSecp256k1Address(bytes.Repeat([]byte{2}, 65)))
	stranger = must(address.NewBLSAddress(bytes.Repeat([]byte{9}, 48)))
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// setupChain is a full node that creates a miner, once asked to.
type setupChain struct {
	api.ChainStruct

	mu     sync.Mutex
	pushed []*api.Message
	exit   exitcode.ExitCode
	wait   func(ctx context.Context) error // before a receipt is given
}

func newSetupChain(t *testing.T) *setupChain {
	t.Helper()
	c := &setupChain{wait: func(context.Context) error { return nil }}
	in := &c.Internal
	in.WalletHas = func(_ context.Context, a address.Address) (bool, error) { return a != stranger, nil }
	in.StateAccountKey = func(_ context.Context, a address.Address, _ api.TipSetKey) (address.Address, error) { return a, nil }
	in.StateMinerCreationDeposit = func(context.Context, api.TipSetKey) (abi.TokenAmount, error) { return big.NewInt(1000), nil }
	in.StateMinerInfo = func(_ context.Context, a address.Address, _ api.TipSetKey) (api.MinerInfo, error) {
		if a != minerID {
			return api.MinerInfo{}, &api.ErrNotFound{What: "actor " + a.String()}
		}
		return api.MinerInfo{Owner: blsKey, Worker: blsKey, SectorSize: 2 << 10}, nil
	}
	in.MpoolPushMessage = func(_ context.Context, m *api.Message, _ *api.MessageSendSpec) (*api.SignedMessage, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.pushed = append(c.pushed, m)
		signed := *m
		signed.Nonce = uint64(len(c.pushed))
		return &api.SignedMessage{Message: signed, Signature: crypto.Signature{Type: crypto.SigTypeBLS, Data: make([]byte, 96)}}, nil
	}
	var ret bytes.Buffer
	if err := (&power.CreateMinerReturn{IDAddress: minerID, RobustAddress: minerID}).MarshalCBOR(&ret); err != nil {
		t.Fatal(err)
	}
	in.StateWaitMsg = func(ctx context.Context, m cid.Cid, confidence uint64, _ abi.ChainEpoch, _ bool) (*api.MsgLookup, error) {
		if confidence != messageConfidence {
			t.Errorf("a receipt is believed after %d epochs", confidence)
		}
		if err := c.wait(ctx); err != nil {
			return nil, err
		}
		return &api.MsgLookup{Message: m, Receipt: api.MessageReceipt{ExitCode: c.exit, Return: ret.Bytes()}}, nil
	}
	in.StateSearchMsg = func(context.Context, api.TipSetKey, cid.Cid, abi.ChainEpoch, bool) (*api.MsgLookup, error) {
		return nil, nil
	}
	in.ChainHead = func(context.Context) (*api.TipSet, error) { return &api.TipSet{Height: 100}, nil }
	in.StateGetActor = func(context.Context, address.Address, api.TipSetKey) (*api.Actor, error) { return &api.Actor{}, nil }
	in.MpoolPending = func(context.Context, api.TipSetKey) ([]*api.SignedMessage, error) { return nil, nil }
	in.MpoolPush = func(_ context.Context, m *api.SignedMessage) (cid.Cid, error) { return m.Cid(), nil }
	return c
}

func TestInitMiner(t *testing.T) {
	chain, dir := newSetupChain(t), filepath.Join(t.TempDir(), "miner")
	in := InitMiner{
		Dir:        dir,
		Owner:      blsKey,
		Worker:     blsKey2,
		SectorSize: 2 << 10,
		Config:     []byte("[API]\n"),
	}
	got, err := in.Run(t.Context(), chain)
	if err != nil || got != minerID {
		t.Fatalf("%v, %v", got, err)
	}
	if len(chain.pushed) != 1 {
		t.Fatalf("%d messages", len(chain.pushed))
	}
	m := chain.pushed[0]
	if m.To != builtin.StoragePowerActorAddr || m.From != blsKey || m.Method != builtin.MethodsPower.CreateMiner ||
		!m.Value.Equals(big.NewInt(1010)) {
		t.Errorf("%+v", m)
	}
	var p power.CreateMinerParams
	if err := unmarshal(m.Params, &p); err != nil || p.Owner != blsKey || p.Worker != blsKey2 || len(p.Peer) == 0 ||
		p.WindowPoStProofType != abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1 {
		t.Errorf("%+v, %v", p, err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, repo.FileConfig)); err != nil || string(b) != "[API]\n" {
		t.Errorf("config %q, %v", b, err)
	}
	if st, err := os.Stat(filepath.Join(dir, repo.FileConfig)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("others may read the config, which may hold a token: %v, %v", st.Mode(), err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, repo.FileStorage)); err != nil ||
		!strings.Contains(string(b), filepath.Join(dir, "sectors")) {
		t.Errorf("storage.json %s, %v", b, err)
	}

	var invalid *api.ErrInvalid
	if _, err := in.Run(t.Context(), chain); !errors.As(err, &invalid) ||
		!strings.Contains(err.Error(), "already belongs to miner "+minerID.String()) {
		t.Errorf("second init: %v", err)
	}
	if len(chain.pushed) != 1 {
		t.Error("a refused init sent a message")
	}
	noStrays(t, dir)
}

func TestInitMinerOfExistingActor(t *testing.T) {
	chain, dir := newSetupChain(t), filepath.Join(t.TempDir(), "miner")
	in := InitMiner{Dir: dir, Actor: must(address.NewIDAddress(7)), SectorSize: 2 << 10, NoStorage: true}
	var none *api.ErrNotFound
	if _, err := in.Run(t.Context(), chain); !errors.As(err, &none) {
		t.Fatalf("an actor that does not exist: %v", err)
	}
	in.Actor = minerID
	if got, err := in.Run(t.Context(), chain); err != nil || got != minerID {
		t.Fatalf("%v, %v", got, err)
	}
	if len(chain.pushed) != 0 {
		t.Error("a message was sent for an existing miner")
	}
	if _, err := os.Stat(filepath.Join(dir, "sectors")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a storage path was made: %v", err)
	}
}

// What cannot work is refused before anything is made.
func TestInitMinerRefuses(t *testing.T) {
	good := InitMiner{Owner: blsKey, SectorSize: 2 << 10}
	for name, c := range map[string]struct {
		spoil func(*InitMiner)
		want  string
	}{
		"sector size":    {func(in *InitMiner) { in.SectorSize = 3 << 10 }, "3072 bytes"},
		"no owner":       {func(in *InitMiner) { in.Owner = address.Undef }, "no owner"},
		"foreign owner":  {func(in *InitMiner) { in.Owner = stranger }, "not in the full node's wallet"},
		"foreign worker": {func(in *InitMiner) { in.Worker = stranger }, "not in the full node's wallet"},
		"secp worker":    {func(in *InitMiner) { in.Worker = secpKey }, "BLS keys only"},
		"secp owner":     {func(in *InitMiner) { in.Owner = secpKey }, "BLS keys only"},
	} {
		t.Run(name, func(t *testing.T) {
			in, chain := good, newSetupChain(t)
			in.Dir = filepath.Join(t.TempDir(), "miner")
			c.spoil(&in)
			_, err := in.Run(t.Context(), chain)
			var invalid *api.ErrInvalid
			var proof *api.ErrUnsupportedProof // a size that exists but is not built
			if !errors.As(err, &invalid) && !errors.As(err, &proof) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
			if _, err := os.Stat(in.Dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the directory was made: %v", err)
			}
			if len(chain.pushed) != 0 {
				t.Error("a message was sent")
			}
		})
	}
}

// Between the message and its receipt anything may happen: the next run waits
// for the message that is out.
func TestInitMinerContinues(t *testing.T) {
	chain, dir := newSetupChain(t), filepath.Join(t.TempDir(), "miner")
	in := InitMiner{Dir: dir, Owner: blsKey, SectorSize: 2 << 10}
	ctx, cancel := context.WithCancel(t.Context())
	chain.wait = func(ctx context.Context) error { cancel(); <-ctx.Done(); return ctx.Err() }
	if _, err := in.Run(ctx, chain); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted init: %v", err)
	}
	r, err := repo.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := MinerAddress(r); err == nil || !strings.Contains(err.Error(), "miner init") {
		t.Errorf("an unfinished repo has a miner: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	chain.wait = func(context.Context) error { return nil }
	if got, err := in.Run(t.Context(), chain); err != nil || got != minerID {
		t.Fatalf("%v, %v", got, err)
	}
	if len(chain.pushed) != 1 {
		t.Fatalf("%d messages were sent", len(chain.pushed))
	}
}

// A creation that failed on chain is over: the next run makes a new attempt.
func TestInitMinerAfterFailure(t *testing.T) {
	chain := newSetupChain(t)
	in := InitMiner{Dir: filepath.Join(t.TempDir(), "miner"), Owner: blsKey, SectorSize: 8 << 20}
	chain.exit = exitcode.ErrInsufficientFunds
	if _, err := in.Run(t.Context(), chain); err == nil || !strings.Contains(err.Error(), "exit code 19") {
		t.Fatalf("got %v", err)
	}
	chain.exit = exitcode.Ok
	if got, err := in.Run(t.Context(), chain); err != nil || got != minerID || len(chain.pushed) != 2 {
		t.Fatalf("%v, %v, %d messages", got, err, len(chain.pushed))
	}
}

// A repo of another kind is not taken over.
func TestInitOfOtherKind(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "markets")
	if err := (InitMarkets{Dir: dir, Miner: minerID}).Run(t.Context(), newSetupChain(t)); err != nil {
		t.Fatal(err)
	}
	var invalid *api.ErrInvalid
	if _, err := (InitMiner{Dir: dir, Owner: blsKey, SectorSize: 2 << 10}).Run(t.Context(), newSetupChain(t)); !errors.As(err, &invalid) {
		t.Fatalf("got %v", err)
	}
}

// noStrays requires that every key of the repo belongs to somebody.
func noStrays(t *testing.T, dir string) {
	t.Helper()
	r, err := repo.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	if s, err := r.Strays(t.Context(), 10); err != nil || len(s) > 0 {
		t.Errorf("keys outside every prefix: %v, %v", s, err)
	}
}

// Addresses that no client could dial are refused before anything is made, and
// the config of an interrupted init is kept.
func TestInitMarketsAddresses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "markets")
	in := InitMarkets{
		Dir:             dir,
		Miner:           minerID,
		PublishPeerInfo: true,
		Announce:        []string{"/ip4/0.0.0.0/tcp/24001"},
		Config:          []byte("[API]\n"),
	}
	var invalid *api.ErrInvalid
	for want, addrs := range map[string][]string{"every address of this host": {"/ip4/0.0.0.0/tcp/24001"}, "no multiaddrs": nil,
		"not a public address": {"/ip4/10.1.2.3/tcp/1"}, "failed to parse": {"here"}} {
		in.Announce = addrs
		if err := in.Run(t.Context(), newSetupChain(t)); !errors.As(err, &invalid) || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), "--announce") {
			t.Errorf("%v: %v", addrs, err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a refused init made the directory: %v", err)
	}
	in.Announce, in.AllowPrivate = []string{"/ip4/10.1.2.3/tcp/1"}, true
	chain := newSetupChain(t)
	if err := in.Run(t.Context(), chain); err != nil || len(chain.pushed) != 2 {
		t.Fatalf("%v, %d messages", err, len(chain.pushed))
	}
	in.Config = []byte("[Libp2p]\n")
	r, err := repo.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	id, err := hostID(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	info := minerOnChain(t, id, in.Announce)
	info.Worker = blsKey
	chain.Internal.StateMinerInfo = func(context.Context, address.Address, api.TipSetKey) (api.MinerInfo, error) { return info, nil }
	if err := in.Run(t.Context(), chain); err != nil || len(chain.pushed) != 2 {
		t.Fatalf("again: %v, %d messages", err, len(chain.pushed))
	}
	info.Multiaddrs = nil // somebody took them off the chain
	if err := in.Run(t.Context(), chain); err != nil || len(chain.pushed) != 3 {
		t.Fatalf("what was said before is said again: %v, %d messages", err, len(chain.pushed))
	}
	if b, err := os.ReadFile(filepath.Join(dir, repo.FileConfig)); err != nil || string(b) != "[API]\n" {
		t.Errorf("config %q, %v", b, err)
	}
}

// hostID is the libp2p identity of a repo.
func hostID(r *repo.Repo) (string, error) {
	priv, err := Libp2pKey(r.Keystore())
	if err != nil {
		return "", err
	}
	id, err := peer.IDFromPrivateKey(priv)
	return id.String(), err
}
