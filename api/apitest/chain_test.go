package apitest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"quarry/api"
)

// fullNode are the methods that a full node must serve, with the permission that
// each needs (lotus api/api_full.go), and those of the embedded node.
var fullNode = map[api.Permission][]string{
	api.PermRead: {
		"ChainHead", "ChainNotify", "ChainGetTipSet", "ChainGetTipSetByHeight", "ChainGetTipSetAfterHeight", "ChainGetGenesis",
		"ChainGetBlock",
		"ChainGetBlockMessages", "ChainGetParentMessages", "ChainGetParentReceipts", "ChainGetMessagesInTipset", "ChainGetMessage",
		"ChainReadObj", "ChainHasObj", "ChainGetPath", "ChainTipSetWeight", "ChainGetFinalizedTipSet",
		"StateNetworkName", "StateNetworkVersion", "StateGetNetworkParams", "StateGetActor", "StateReadState", "StateLookupID",
		"StateAccountKey", "StateCall", "StateSearchMsg", "StateWaitMsg", "StateMinerInfo", "StateMinerPower", "StateMinerProvingDeadline",
		"StateMinerDeadlines", "StateMinerPartitions", "StateMinerSectors", "StateMinerActiveSectors", "StateMinerFaults",
		"StateMinerRecoveries", "StateMinerSectorCount", "StateMinerAvailableBalance", "StateMinerSectorAllocated", "StateMinerAllocated",
		"StateMinerPreCommitDepositForPower", "StateMinerInitialPledgeForSector", "StateMinerInitialPledgeCollateral",
		"StateMinerCreationDeposit", "StateSectorPreCommitInfo", "StateSectorGetInfo", "StateSectorExpiration", "StateSectorPartition",
		"StateGetRandomnessFromTickets", "StateGetRandomnessFromBeacon", "StateGetBeaconEntry", "StateListMiners", "StateListActors",
		"StateMarketBalance", "StateMarketStorageDeal", "StateMarketDeals", "StateMarketProposalPending",
		"StateDealProviderCollateralBounds", "StateVerifiedClientStatus", "StateVerifierStatus", "StateGetAllocation",
		"StateGetAllocations", "StateGetAllAllocations", "StateGetAllocationForPendingDeal", "StateGetAllocationIdForPendingDeal",
		"StateGetClaim", "StateGetClaims", "StateGetAllClaims", "StateCirculatingSupply", "StateVMCirculatingSupplyInternal",
		"StateDecodeParams", "StateEncodeParams", "StateActorCodeCIDs", "StateActorManifestCID",
		"GasEstimateMessageGas", "GasEstimateGasLimit", "GasEstimateFeeCap", "GasEstimateGasPremium",
		"MpoolGetNonce", "MpoolPending", "MpoolSelect", "MpoolSub", "MpoolGetConfig", "MinerGetBaseInfo", "SyncState",
		"WalletBalance", "WalletVerify", "WalletValidateAddress",
		"F3IsRunning", "F3GetLatestCertificate", "F3GetManifest", "F3GetProgress",
		"ID", "NetPeers", "NetBandwidthStats", "NetAutoNatStatus",
	},
	api.PermWrite: {
		"MpoolPush", "MpoolBatchPush", "MinerCreateBlock", "SyncSubmitBlock",
		"WalletNew", "WalletHas", "WalletList", "WalletDefaultAddress", "WalletSetDefault",
	},
	api.PermSign: {
		"MpoolPushMessage", "MpoolBatchPushMessage", "WalletSign", "WalletSignMessage",
		"MarketAddBalance", "MarketReserveFunds", "MarketReleaseFunds", "MarketGetReserved", "MarketWithdraw",
		"F3GetOrRenewParticipationTicket", "F3Participate",
	},
	api.PermAdmin: {"ChainPutObj", "WalletExport", "WalletImport", "WalletDelete"},
}

// wires are the parameters of a method as zero values in JSON.
func wires(t *testing.T, method string) string {
	t.Helper()
	for _, p := range []any{new(api.ChainStruct), new(api.ChainToolsStruct)} {
		m, ok := reflect.TypeOf(p).Elem().Field(0).Type.FieldByName(method)
		if !ok {
			continue
		}
		params := []string{}
		for i := 1; i < m.Type.NumIn(); i++ {
			params = append(params, zeroJSON(t, m.Type.In(i)))
		}
		return "[" + strings.Join(params, ",") + "]"
	}
	t.Errorf("no method %s", method)
	return "[]"
}

func zeroJSON(t *testing.T, typ reflect.Type) string {
	t.Helper()
	switch typ.String() {
	case "address.Address":
		return `"t00"`
	case "big.Int":
		return `"0"`
	case "miner.SectorPreCommitInfo":
		return `{"SealedCID":null}`
	}
	raw, err := json.Marshal(reflect.New(typ).Interface())
	if err != nil {
		t.Fatalf("%s: %v", typ, err)
	}
	return string(raw)
}

// answer is the error of an answer, if it is one.
type answer struct {
	Error struct {
		Code    int
		Message string
	}
}

// askSocket makes a call over a websocket of its own.
func askSocket(t *testing.T, s *Server, token, method string) (code int, message string) {
	t.Helper()
	conn, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+s.Addr+"/rpc/v1",
		http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = conn.Close(), resp.Body.Close() }()
	call := map[string]any{"jsonrpc": "2.0", "id": 1, "method": "Filecoin." + method, "params": []any{}}
	if err := conn.WriteJSON(call); err != nil {
		t.Fatal(err)
	}
	var out answer
	if err := conn.ReadJSON(&out); err != nil {
		t.Fatal(err)
	}
	return out.Error.Code, out.Error.Message
}

// ask makes a call and gives the error of the answer.
func ask(t *testing.T, s *Server, token, method string) (code int, message string) {
	t.Helper()
	if method == "ChainNotify" || method == "MpoolSub" { // subscriptions
		return askSocket(t, s, token, method)
	}
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"Filecoin.%s","params":%s}`, method, wires(t, method))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Addr+"/rpc/v1", bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var out answer
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	return out.Error.Code, out.Error.Message
}

// Every method of a full node is served, to who carries its permission and to
// nobody else.
func TestFullNodeMethodsAndPermissions(t *testing.T) {
	s := Serve(t, Parts{Chain: &api.ChainStruct{}, Tools: &api.ChainToolsStruct{}, Default: []api.Permission{}})
	defer http.DefaultClient.CloseIdleConnections()
	for perm, names := range fullNode {
		others := slices.DeleteFunc(slices.Clone(api.AllPermissions), func(p api.Permission) bool {
			return p == perm || p == api.PermAdmin // which carries them all
		})
		s.Tokens.Set("w.i.th", perm)
		s.Tokens.Set("w.ith.out", others...)
		for _, name := range names {
			if code, msg := ask(t, s, "w.ith.out", name); code != 111 || msg != (&api.ErrPermission{Method: name, Need: perm}).Error() {
				t.Errorf("%s with everything but %s: %d %q", name, perm, code, msg)
			}
			if code, msg := ask(t, s, "w.i.th", name); code != 106 || !strings.Contains(msg, name) {
				t.Errorf("%s with %s: %d %q", name, perm, code, msg)
			}
		}
	}
}

// The table above has every method of the interfaces, with their permissions, and
// no other.
func TestFullNodeMethodsAreListed(t *testing.T) {
	want := map[string]api.Permission{}
	for perm, names := range fullNode {
		for _, name := range names {
			want[name] = perm
		}
	}
	for _, p := range []any{new(api.ChainStruct), new(api.ChainToolsStruct)} {
		in := reflect.TypeOf(p).Elem().Field(0).Type
		for i := range in.NumField() {
			f := in.Field(i)
			if got := api.Permission(f.Tag.Get("perm")); want[f.Name] != got {
				t.Errorf("%s needs %s, the list says %q", f.Name, got, want[f.Name])
			}
			delete(want, f.Name)
		}
	}
	for name := range want {
		t.Errorf("%s is not there", name)
	}
}

// subscribed is a pool that tells of one message and notes when its listener goes.
type subscribed struct {
	api.ChainToolsStruct
	ended chan struct{}
}

func (s *subscribed) MpoolSub(ctx context.Context) (<-chan api.MpoolUpdate, error) {
	out := make(chan api.MpoolUpdate, 1)
	out <- api.MpoolUpdate{Type: api.MpoolRemove}
	context.AfterFunc(ctx, func() { close(out); close(s.ended) })
	return out, nil
}

// A subscription to the pool ends with its connection, and nothing of it is left.
func TestPoolSubscriptionEndsWithItsConnection(t *testing.T) {
	before := goleak.IgnoreCurrent()
	pool := &subscribed{ended: make(chan struct{})}
	s := Serve(t, Parts{Tools: pool})
	conn, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+s.Addr+"/rpc/v1",
		http.Header{"Authorization": {"Bearer " + AdminToken}})
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if err := conn.WriteJSON(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "Filecoin.MpoolSub", "params": []any{}}); err != nil {
		t.Fatal(err)
	}
	var opened struct{ Result int }
	if err := conn.ReadJSON(&opened); err != nil {
		t.Fatal(err)
	}
	var told struct {
		Method string
		Params []json.RawMessage
	}
	if err := conn.ReadJSON(&told); err != nil || told.Method != "xrpc.ch.val" || len(told.Params) != 2 ||
		string(told.Params[1]) != `{"Type":1,"Message":null}` {
		t.Fatalf("told %+v, %v", told, err)
	}
	_ = conn.Close()
	<-pool.ended
	s.Stop()
	goleak.VerifyNone(t, before)
}
