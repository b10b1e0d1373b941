package apitest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"quarry/api"
)

// tokensOf are the kinds of tokens there are, with what they carry.
func tokensOf(t *testing.T) map[string][]api.Permission {
	t.Helper()
	out := map[string][]api.Permission{}
	for _, r := range []api.Role{api.RoleMarketsPeer, api.RoleWorker} {
		perms, ok := api.RolePermissions(r)
		if !ok {
			t.Fatalf("no role %s", r)
		}
		out[string(r)] = perms
	}
	for _, p := range []api.Permission{api.PermRead, api.PermWrite, api.PermSign, api.PermAdmin} {
		out[string(p)] = api.ClassicPermissions(p)
	}
	return out
}

// minerRights says of each method of a miner process which tokens may call it. A
// new method belongs here: who should be able to call it, and does a public host
// that was broken into have to?
var minerRights = map[string]string{
	"markets-peer worker read write sign admin": `
		Version Session Handshake ActorAddress ActorSectorSize SectorsStatus`,
	"markets-peer admin": `
		SectorAddPiece SectorPlacement SectorUnseal`,
	// What of it a markets peer may do depends on what it asks for: the tests of
	// storage/index say.
	"markets-peer worker admin": `
		StorageAttach StorageDetach StorageReportHealth StorageFindSector StorageFileBearer
		StorageLock StorageRenewLock StorageUnlock`,
	"worker admin": `
		StorageDeclareSectors StorageDropSectors StorageBestAlloc StorageFileKey
		WorkerClaim WorkerProgress WorkerDone`,
	"worker read write sign admin": `
		RuntimeSubsystems AuthVerify NodeStatus ID NetAddrsListen NetPeers
		StorageList StorageGet StorageFiles TaskGet TaskWait TaskList TaskQuery WorkerList
		SectorsList SectorsQuery SectorsSummary SectorsFaults MiningStatus ProvingStatus
		DealsList DealsQuery DealsSummary DealsGet MarketGetAsk MarketPendingDeals PiecesList PiecesGet`,
	"write sign admin": `
		LogList LogSetLevel NetConnect DealsRetry PledgeSector SectorStartSealing SectorRetry`,
	"admin": `
		AuthNew AuthCreate AuthList AuthRevoke AuthRotate Shutdown
		StorageAddLocal StorageDetachLocal TaskSubmit TaskForget TaskRetry TaskAbort TaskCancel RemoveSector
		ProveWindow ProveWinning CheckProvable ProverState ProvingRetryRecovery
		SectorRemove SectorMarkForUpgrade SectorAbortUpgrade
		MarketSetAsk MarketPublishPendingDeals`,
}

// minerParts are the interfaces of a miner process.
var minerParts = []reflect.Type{
	reflect.TypeFor[api.Common](), reflect.TypeFor[api.Net](), reflect.TypeFor[api.Storage](),
	reflect.TypeFor[api.Sealing](), reflect.TypeFor[api.Mining](), reflect.TypeFor[api.Markets](),
}

// stubs answer every call with *api.ErrUnreachable: it was let in.
func stubs() Parts {
	return Parts{
		Common:  &api.CommonStruct{},
		Net:     &api.NetStruct{},
		Storage: &nobody{},
		Sealing: &api.SealingStruct{},
		Mining:  &api.MiningStruct{},
		Markets: &api.MarketsStruct{},
	}
}

// Every method of a miner process, called with every kind of token.
func TestWhoMayCallWhat(t *testing.T) {
	srv := Serve(t, stubs())
	table := map[string][]string{}
	for who, methods := range minerRights {
		for _, m := range strings.Fields(methods) {
			if table[m] != nil {
				t.Errorf("%s is listed twice", m)
			}
			table[m] = strings.Fields(who)
		}
	}
	calls := map[string]any{}
	for name, perms := range tokensOf(t) {
		token := "x." + strings.ReplaceAll(name, "-", "_") + ".x"
		srv.Tokens.Set(token, perms...)
		calls[name] = srv.Miner(t, token)
	}
	for _, part := range minerParts {
		for m := range part.Methods() {
			who, listed := table[m.Name]
			if !listed {
				t.Errorf("%s is in no table: say above who may call it", m.Name)
				continue
			}
			delete(table, m.Name)
			for token, c := range calls {
				err := callZero(t, c, m.Name)
				var missing *api.ErrPermission
				var inside *api.ErrUnreachable
				may := slices.Contains(who, token)
				if may && !errors.As(err, &inside) || !may && !errors.As(err, &missing) {
					t.Errorf("%s with a token %s: may is %v, got %v", m.Name, token, may, err)
				}
			}
		}
	}
	for m := range table {
		t.Errorf("%s is listed, but no part has it", m)
	}
}

// chainNeeds lists the methods of a full node by the permission that each needs;
// whoever makes tokens there is its operator. Reading is open to all on a devnet.
var chainNeeds = map[api.Permission]string{
	api.PermSign: `MpoolPushMessage MpoolBatchPushMessage WalletSign WalletSignMessage
		MarketAddBalance MarketWithdraw MarketReserveFunds MarketReleaseFunds MarketGetReserved
		F3GetOrRenewParticipationTicket F3Participate`,
	api.PermWrite: `MpoolPush MpoolBatchPush MinerCreateBlock SyncSubmitBlock DevnetFund
		WalletNew WalletHas WalletList WalletDefaultAddress WalletSetDefault`,
	api.PermAdmin: `ChainPutObj WalletExport WalletImport WalletDelete Shutdown DevnetWarp DevnetSetPace`,
}

// No token of a role opens anything at a full node but reading, and nothing that
// signs, spends or changes it is for reading.
func TestWhoMayChangeAFullNode(t *testing.T) {
	needs := map[string]api.Permission{}
	for perm, methods := range chainNeeds {
		for _, m := range strings.Fields(methods) {
			needs[m] = perm
		}
	}
	for _, part := range []any{&api.ChainServer{}, &api.NodeServer{}, &api.DevnetServer{}} {
		for name, perm := range permissionsOf(part) {
			want, listed := needs[name]
			if !listed {
				want = api.PermRead
			}
			if perm != want {
				t.Errorf("%s needs %s, the table says %s", name, perm, want)
			}
			plain := strings.ReplaceAll(name, "TipSet", "")
			changes := slices.ContainsFunc(changing, func(word string) bool { return strings.Contains(plain, word) })
			if !listed && changes && !slices.Contains(harmless, name) {
				t.Errorf("%s sounds as if it changed something, and is for reading: say above what it needs, or below why not", name)
			}
		}
	}
}

// changing are words in the names of what changes something.
var changing = []string{
	"Wallet", "Mpool", "Push", "Put", "Set", "Submit", "Create", "Delete", "Import", "Fund", "Add", "Withdraw", "Reserve",
}

// harmless only look, whatever their names.
var harmless = []string{
	"WalletBalance", "WalletVerify", "MpoolGetNonce", "MpoolPending", "MpoolSelect", "StateMinerCreationDeposit", "GasEstimateMessageGas",
	"StateAccountKey", "MpoolSub", "MpoolGetConfig", "WalletValidateAddress",
}

// permissionsOf asks the generated guard of a part what each method needs.
func permissionsOf(part any) map[string]api.Permission {
	out := map[string]api.Permission{}
	guard := api.Guard(func(_ context.Context, m api.Method, _ func(context.Context) error) error {
		out[m.Name] = m.Perm
		return errors.New("not called")
	})
	v := reflect.ValueOf(part)
	v.Elem().FieldByName("Guard").Set(reflect.ValueOf(guard))
	for i := range v.NumMethod() {
		m := v.Method(i)
		args := []reflect.Value{reflect.ValueOf(context.Background())}
		for j := 1; j < m.Type().NumIn(); j++ {
			args = append(args, reflect.Zero(m.Type().In(j)))
		}
		m.Call(args)
	}
	return out
}
