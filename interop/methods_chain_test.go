package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	market18 "github.com/filecoin-project/go-state-types/builtin/v18/market"
	power18 "github.com/filecoin-project/go-state-types/builtin/v18/power"
	"github.com/filecoin-project/go-state-types/network"
	lapi "github.com/filecoin-project/lotus/api"
	"github.com/filecoin-project/lotus/blockstore"
	"github.com/filecoin-project/lotus/chain/state"
	"github.com/filecoin-project/lotus/chain/types"
	cbor "github.com/ipfs/go-ipld-cbor"
)

func walletPart(t *testing.T, s *session) {
	var err error
	s.faucet, err = s.f.WalletDefaultAddress(s.ctx)
	s.same(t, s.faucet, err)
	s.client, err = s.f.WalletNew(s.ctx, types.KTSecp256k1)
	s.same(t, s.client, err)
	has, err := s.f.WalletHas(s.ctx, s.client)
	s.same(t, has, err)
	list, err := s.f.WalletList(s.ctx)
	s.same(t, list, err)
	if !has || !slices.Contains(list, s.client) {
		t.Errorf("the new key is not in %v", list)
	}
	sig, err := s.f.WalletSign(s.ctx, s.client, []byte("x"))
	s.same(t, sig, err)
	for text, want := range map[string]bool{"x": true, "y": false} {
		ok, err := s.f.WalletVerify(s.ctx, s.client, []byte(text), sig)
		if s.same(t, ok, err); ok != want {
			t.Errorf("signature over %s: %v", text, ok)
		}
	}
	key, err := s.f.WalletExport(s.ctx, s.client)
	s.same(t, key, err)
	if err := s.f.WalletDelete(s.ctx, s.client); err != nil {
		t.Fatal(err)
	}
	again, err := s.f.WalletImport(s.ctx, key)
	if s.same(t, again, err); again != s.client {
		t.Errorf("imported %s", again)
	}
	if err := s.f.WalletSetDefault(s.ctx, s.faucet); err != nil {
		t.Fatal(err)
	}
	balance, err := s.f.WalletBalance(s.ctx, s.client)
	if s.same(t, balance, err); !balance.IsZero() {
		t.Errorf("balance %s", balance)
	}
	valid, err := s.f.WalletValidateAddress(s.ctx, s.client.String())
	if s.same(t, valid, err); valid != s.client {
		t.Errorf("address %s", valid)
	}
	if _, err := s.f.WalletValidateAddress(s.ctx, "t1abc"); err == nil {
		t.Error("t1abc is an address")
	}
}

func chainPart(t *testing.T, s *session) {
	head, err := s.f.ChainHead(s.ctx)
	s.same(t, head, err)
	ts, err := s.f.ChainGetTipSet(s.ctx, head.Key())
	if s.same(t, ts, err); !ts.Equals(head) {
		t.Errorf("%s is not %s", ts, head)
	}
	for _, get := range []func(context.Context, abi.ChainEpoch, types.TipSetKey) (*types.TipSet, error){
		s.f.ChainGetTipSetByHeight, s.f.ChainGetTipSetAfterHeight,
	} {
		ts, err = get(s.ctx, head.Height(), head.Key())
		if s.same(t, ts, err); !ts.Equals(head) {
			t.Errorf("%s is not %s", ts, head)
		}
	}
	first, err := s.f.ChainGetGenesis(s.ctx)
	s.same(t, first, err)
	final, err := s.f.ChainGetFinalizedTipSet(s.ctx)
	if s.same(t, final, err); !final.Equals(first) {
		t.Errorf("final is %s", final)
	}
	path, err := s.f.ChainGetPath(s.ctx, first.Key(), head.Key())
	if s.same(t, path, err); len(path) > 0 && (path[len(path)-1].Type != "apply" || !path[len(path)-1].Val.Equals(head)) {
		t.Errorf("the path does not end at the head: %v", path)
	}
	block := head.Blocks()[0]
	header, err := s.f.ChainGetBlock(s.ctx, block.Cid())
	s.same(t, header, err)
	raw, err := s.f.ChainReadObj(s.ctx, block.Cid())
	s.same(t, raw, err)
	if want, err := block.Serialize(); err != nil || !bytes.Equal(want, raw) {
		t.Errorf("block is %x, Lotus writes %x, %v", raw, want, err)
	}
	has, err := s.f.ChainHasObj(s.ctx, block.Cid())
	if s.same(t, has, err); !has {
		t.Error("the node does not have its block")
	}
	weight, err := s.f.ChainTipSetWeight(s.ctx, head.Key())
	if s.same(t, weight, err); weight.LessThan(block.ParentWeight) {
		t.Errorf("weight %s, parent %s", weight, block.ParentWeight)
	}
	sub, err := s.ws.ChainNotify(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if first := <-sub; len(first) != 1 || first[0].Type != "current" {
		t.Errorf("first %v", first)
	}
	s.mark("ChainNotify")
	sync, err := s.f.SyncState(s.ctx)
	if s.same(t, sync, err); len(sync.ActiveSyncs) != 1 || sync.ActiveSyncs[0].Stage != lapi.StageSyncComplete {
		t.Errorf("sync %+v", sync)
	}
}

// actorPart reads the state tree block by block with Lotus's code: the node must
// have said the same.
func actorPart(t *testing.T, s *session) {
	head, err := s.f.ChainHead(s.ctx)
	s.same(t, head, err)
	list, err := s.f.StateListActors(s.ctx, head.Key())
	s.same(t, list, err)
	tree, err := state.LoadStateTree(cbor.NewCborStore(blockstore.NewAPIBlockstore(s.f)), head.ParentState())
	if err != nil {
		t.Fatal(err)
	}
	want := map[address.Address]*types.Actor{}
	if err := tree.ForEach(func(a address.Address, act *types.Actor) error { want[a] = act; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(list) != len(want) || len(list) < 10 {
		t.Errorf("%d actors, Lotus counts %d", len(list), len(want))
	}
	for _, a := range list {
		if want[a] == nil {
			t.Fatalf("%s is not in the tree", a)
		}
	}
	for _, a := range []address.Address{s.miner, builtin.StorageMarketActorAddr, list[0]} {
		act, err := s.f.StateGetActor(s.ctx, a, head.Key())
		w := want[a]
		if s.same(t, act, err); act.Code != w.Code || act.Head != w.Head || act.Nonce != w.Nonce || !act.Balance.Equals(w.Balance) {
			t.Errorf("%s is %+v, Lotus reads %+v", a, act, want[a])
		}
		st, err := s.f.StateReadState(s.ctx, a, head.Key())
		s.same(t, st, err)
	}
	if _, err := s.f.StateLookupID(s.ctx, unknown(t), types.EmptyTSK); !errors.As(err, new(*lapi.ErrActorNotFound)) {
		t.Errorf("a stranger: %v", err)
	}
}

func unknown(t *testing.T) address.Address {
	t.Helper()
	a, err := address.NewSecp256k1Address([]byte("nobody"))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func callPart(t *testing.T, s *session) {
	deposit, err := s.f.StateMinerCreationDeposit(s.ctx, types.EmptyTSK)
	s.same(t, deposit, err)
	var params bytes.Buffer
	if err := (&power18.CreateMinerParams{
		Owner:               s.client,
		Worker:              s.worker, // a BLS key, as it must be
		WindowPoStProofType: abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1,
		Peer:                abi.PeerID("p"),
	}).MarshalCBOR(&params); err != nil {
		t.Fatal(err)
	}
	msg := &types.Message{
		From:   s.client,
		To:     builtin.StoragePowerActorAddr,
		Value:  types.BigMul(deposit, types.NewInt(2)),
		Method: builtin.MethodsPower.CreateMiner,
		Params: params.Bytes(),
	}
	res, err := s.f.StateCall(s.ctx, msg, types.EmptyTSK)
	s.same(t, res, err)
	if res.MsgRct.ExitCode != 0 || res.Error != "" || res.MsgCid != res.Msg.Cid() || res.Duration <= 0 {
		t.Errorf("call %+v", res)
	}
	tr := res.ExecutionTrace
	if tr.Msg.Method != 2 || tr.InvokedActor.Id != 4 || len(tr.Subcalls) == 0 || !bytes.Equal(tr.MsgRct.Return, res.MsgRct.Return) {
		t.Errorf("trace %+v", tr)
	}
	var total func(types.ExecutionTrace) (int64, int64)
	total = func(x types.ExecutionTrace) (gas, calls int64) {
		gas, calls = x.SumGas().TotalGas, 1
		for _, sub := range x.Subcalls {
			g, n := total(sub)
			gas, calls = gas+g, calls+n
		}
		return gas, calls
	}
	if gas, calls := total(tr); gas > res.MsgRct.GasUsed || gas < res.MsgRct.GasUsed-calls {
		t.Errorf("%d calls of %d gas, the receipt says %d", calls, gas, res.MsgRct.GasUsed)
	}
	bad := *msg
	bad.Params = nil
	res, err = s.f.StateCall(s.ctx, &bad, types.EmptyTSK)
	if s.same(t, res, err); res.MsgRct.ExitCode == 0 || res.Error == "" {
		t.Errorf("without parameters: %+v", res)
	}
}

func paramPart(t *testing.T, s *session) {
	p := &market18.WithdrawBalanceParams{ProviderOrClientAddress: s.miner, Amount: big.NewInt(7)}
	var raw bytes.Buffer
	if err := p.MarshalCBOR(&raw); err != nil {
		t.Fatal(err)
	}
	method := builtin.MethodsMarket.WithdrawBalance
	got, err := s.f.StateDecodeParams(s.ctx, builtin.StorageMarketActorAddr, method, raw.Bytes(), types.EmptyTSK)
	s.same(t, got, err)
	text, err := json.Marshal(got)
	if want, _ := json.Marshal(p); err != nil || !bytes.Equal(plainly(t, want), plainly(t, text)) {
		t.Errorf("decoded %s, want %s", text, want)
	}
	codes, err := s.f.StateActorCodeCIDs(s.ctx, network.Version28)
	s.same(t, codes, err)
	back, err := s.f.StateEncodeParams(s.ctx, codes["storagemarket"], method, text)
	if s.same(t, back, err); !bytes.Equal(back, raw.Bytes()) {
		t.Errorf("encoded %x, want %x", back, raw.Bytes())
	}
	act, err := s.f.StateGetActor(s.ctx, builtin.StorageMarketActorAddr, types.EmptyTSK)
	if s.same(t, act, err); act.Code != codes["storagemarket"] {
		t.Errorf("the market is %s", act.Code)
	}
	list, err := s.f.StateActorManifestCID(s.ctx, network.Version28)
	if s.same(t, list, err); !list.Defined() {
		t.Error("no manifest")
	}
}

// plainly is JSON with its fields in one order.
func plainly(t *testing.T, raw []byte) []byte {
	t.Helper()
	out, err := json.Marshal(plain(t, raw))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func networkPart(t *testing.T, s *session) {
	name, err := s.f.StateNetworkName(s.ctx)
	s.same(t, name, err)
	version, err := s.f.StateNetworkVersion(s.ctx, types.EmptyTSK)
	if s.same(t, version, err); version != network.Version28 {
		t.Errorf("version %d", version)
	}
	params, err := s.f.StateGetNetworkParams(s.ctx)
	if s.same(t, params, err); string(params.NetworkName) != string(name) || params.BlockDelaySecs != 1 {
		t.Errorf("network %+v", params)
	}
	if f := params.ForkUpgradeParams; f.UpgradeSmokeHeight >= 0 || f.UpgradeFireHorseHeight >= 0 || f.UpgradeXxHeight < 1<<40 {
		t.Errorf("upgrades %+v", f)
	}
	supply, err := s.f.StateCirculatingSupply(s.ctx, types.EmptyTSK)
	s.same(t, supply, err)
	parts, err := s.f.StateVMCirculatingSupplyInternal(s.ctx, types.EmptyTSK)
	s.same(t, parts, err)
	if sum := big.Sub(big.Sub(big.Add(parts.FilVested, parts.FilMined), parts.FilBurnt),
		parts.FilLocked); !sum.Equals(parts.FilCirculating) {
		t.Errorf("supply %+v", parts)
	}
	id, err := s.f.ID(s.ctx)
	if s.same(t, id, err); id.Validate() != nil {
		t.Errorf("id %s", id)
	}
	if pub, err := id.ExtractPublicKey(); err != nil || pub == nil {
		t.Errorf("id %s: %v", id, err)
	}
	peers, err := s.f.NetPeers(s.ctx)
	if s.same(t, peers, err); len(peers) != 0 {
		t.Errorf("peers %v", peers)
	}
	traffic, err := s.f.NetBandwidthStats(s.ctx)
	s.same(t, traffic, err)
	nat, err := s.f.NetAutoNatStatus(s.ctx)
	s.same(t, nat, err)
}

// f3Part: the errors are those that a miner of Lotus stops its participation for.
func f3Part(t *testing.T, s *session) {
	_, running := s.f.F3IsRunning(s.ctx)
	_, cert := s.f.F3GetLatestCertificate(s.ctx)
	_, list := s.f.F3GetManifest(s.ctx)
	_, progress := s.f.F3GetProgress(s.ctx)
	_, ticket := s.f.F3GetOrRenewParticipationTicket(s.ctx, s.miner, nil, 5)
	_, part := s.f.F3Participate(s.ctx, lapi.F3ParticipationTicket("x"))
	for _, err := range []error{running, cert, list, progress, ticket, part} {
		if !errors.Is(err, lapi.ErrF3Disabled) {
			t.Errorf("got %T %v", err, err)
		}
	}
}
