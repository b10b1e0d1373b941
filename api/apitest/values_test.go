package apitest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"quarry/api"
	"quarry/api/client"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
)

type abiSectorID = abi.SectorID

// echo remembers what it was asked and answers with fixed values.
type echo struct {
	api.ChainStruct
	api.IndexStruct
	api.LeasesStruct
	api.TasksStruct
	api.FleetStruct
	api.ProverStruct
	api.CommonStruct

	mu    sync.Mutex
	calls []string

	balance abi.TokenAmount
	list    []api.CidMessage
	head    chan []*api.HeadChange
}

func (e *echo) WalletList(context.Context) ([]addr, error) { return []addr{}, nil }

func (e *echo) StateVMCirculatingSupplyInternal(_ context.Context, k api.TipSetKey) (api.CirculatingSupply, error) {
	return api.CirculatingSupply{}, fmt.Errorf("key nil: %v", k == nil)
}

func (e *echo) StateCirculatingSupply(context.Context, api.TipSetKey) (abi.TokenAmount, error) {
	return e.balance, nil
}

func (e *echo) ChainGetMessagesInTipset(context.Context, api.TipSetKey) ([]api.CidMessage, error) {
	return e.list, nil
}

func (e *echo) ChainHead(context.Context) (*api.TipSet, error) { return nil, nil }

func (e *echo) ChainNotify(ctx context.Context) (<-chan []*api.HeadChange, error) {
	out := make(chan []*api.HeadChange)
	go func() {
		defer close(out)
		for {
			select {
			case v, ok := <-e.head:
				if !ok {
					return
				}
				select {
				case out <- v:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

func (e *echo) StorageFiles(_ context.Context, id api.StorageID, cursor string, limit int) ([]api.SectorFile, string, error) {
	f := api.SectorFile{Sector: abi.SectorID{Miner: 1000, Number: math.MaxUint64}, Type: api.FileCache, Storage: id}
	return []api.SectorFile{f}, fmt.Sprintf("%s+%d", cursor, limit), nil
}

func (e *echo) TaskWait(ctx context.Context, _ api.UUID) (api.TaskStatus, error) {
	e.mu.Lock()
	e.calls = append(e.calls, "wait")
	e.mu.Unlock()
	<-ctx.Done()
	e.mu.Lock()
	e.calls = append(e.calls, "ended")
	e.mu.Unlock()
	return api.TaskStatus{}, ctx.Err()
}

func (e *echo) saw(what string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.calls {
		if c == what {
			return true
		}
	}
	return false
}

func TestValuesCross(t *testing.T) {
	huge, _ := big.FromString("123456789012345678901234567890123456789")
	impl := &echo{balance: huge, list: []api.CidMessage{}}
	srv := Serve(t, Parts{Chain: impl, Storage: impl})
	c, m := srv.Chain(t, AdminToken), srv.Miner(t, AdminToken)
	ctx := context.Background()
	if v, err := c.StateCirculatingSupply(ctx, nil); err != nil || !v.Equals(huge) {
		t.Errorf("big: %s, %v", v, err)
	}
	if v, err := c.ChainGetMessagesInTipset(ctx, nil); err != nil || v == nil || len(v) != 0 {
		t.Errorf("empty list came as %v, %v", v, err)
	}
	impl.list = nil
	if v, err := c.ChainGetMessagesInTipset(ctx, nil); err != nil || v != nil {
		t.Errorf("nil list came as %v, %v", v, err)
	}
	if v, err := c.ChainHead(ctx); err != nil || v != nil {
		t.Errorf("nil pointer came as %v, %v", v, err)
	}
	if v, err := c.WalletList(ctx); err != nil || v == nil {
		t.Errorf("empty addresses came as %v, %v", v, err)
	}
	want, next, _ := impl.StorageFiles(ctx, "id", "cur", 9)
	got, gotNext, err := m.StorageFiles(ctx, "id", "cur", 9)
	if err != nil || gotNext != next || !reflect.DeepEqual(got, want) {
		t.Errorf("page: %v %q, %v", got, gotNext, err)
	}
}

// The wire form of values is the same as in process JSON, so that nothing
// depends on where a part runs.
func TestTaskStatusRoundTrip(t *testing.T) {
	in := api.TaskStatus{State: api.TaskDone, ETA: time.Second, Result: json.RawMessage(`{"Big":18446744073709551615}`),
		Submitted: time.Unix(1, 2).UTC()}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out api.TaskStatus
	if err := json.Unmarshal(b, &out); err != nil || !out.Submitted.Equal(in.Submitted) || string(out.Result) != string(in.Result) {
		t.Fatalf("%+v, %v", out, err)
	}
}

func TestPermissions(t *testing.T) {
	impl := &echo{balance: big.Zero()}
	srv := Serve(t, Parts{Chain: impl, Storage: impl})
	srv.Tokens.Set("r.e.ad", api.PermRead)
	srv.Tokens.Set("w.or.ker", api.PermRead, api.PermStorageRead)
	ctx := context.Background()
	reader := srv.Chain(t, "r.e.ad")
	if _, err := reader.StateCirculatingSupply(ctx, nil); err != nil {
		t.Fatal(err)
	}
	var perm *api.ErrPermission
	if _, err := reader.WalletList(ctx); !errors.As(err, &perm) || perm.Need != api.PermWrite || perm.Method != "WalletList" {
		t.Fatalf("got %v", err)
	}
	if err := srv.Miner(t, "w.or.ker").RemoveSector(ctx, abi.SectorID{}); !errors.As(err, &perm) || perm.Need != api.PermTasks {
		t.Fatalf("got %v", err)
	}
	for _, token := range []string{"", "x.y.z"} {
		_, err := srv.Chain(t, token).ChainHead(ctx)
		if !client.IsTokenRefused(err) {
			t.Errorf("token %q: %v", token, err)
		}
		if _, err := srv.Chain(t, token).ChainNotify(ctx); !client.IsTokenRefused(err) {
			t.Errorf("token %q, websocket: %v", token, err)
		}
	}
}

func TestStrangersWithDefaults(t *testing.T) {
	srv := Serve(t, Parts{Chain: &echo{balance: big.NewInt(7)}, Default: []api.Permission{api.PermRead}})
	c := srv.Chain(t, "")
	if _, err := c.StateCirculatingSupply(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	var perm *api.ErrPermission
	if _, err := c.WalletList(context.Background()); !errors.As(err, &perm) {
		t.Fatal(err)
	}
	if _, err := srv.Chain(t, "x.y.z").ChainHead(context.Background()); !client.IsTokenRefused(err) {
		t.Fatalf("a wrong token is worse than none: %v", err)
	}
}

func TestNotify(t *testing.T) {
	impl := &echo{head: make(chan []*api.HeadChange)}
	srv := Serve(t, Parts{Chain: impl})
	c := srv.Chain(t, AdminToken)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ch, err := c.ChainNotify(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		impl.head <- []*api.HeadChange{{Type: fmt.Sprint(i)}}
		if v := <-ch; len(v) != 1 || v[0].Type != fmt.Sprint(i) {
			t.Fatalf("%d came as %v", i, v)
		}
	}
	cancel()
	for range ch { // closes because the caller is gone
	}
	ch, err = c.ChainNotify(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	for range ch { // closes because the client is
	}
	if _, err := c.ChainNotify(context.Background()); err == nil {
		t.Fatal("a closed client subscribed")
	}
}

// One client lives through restarts of the server.
func TestRestartHeals(t *testing.T) {
	impl := &echo{balance: big.NewInt(1), head: make(chan []*api.HeadChange)}
	srv := Serve(t, Parts{Chain: impl})
	c := srv.Chain(t, AdminToken)
	ctx := context.Background()
	for range 3 {
		if _, err := c.StateCirculatingSupply(ctx, nil); err != nil {
			t.Fatal(err)
		}
		ch, err := c.ChainNotify(ctx)
		if err != nil {
			t.Fatal(err)
		}
		srv.Stop()
		for range ch { // closes with the server
		}
		var un *api.ErrUnreachable
		if _, err := c.StateCirculatingSupply(ctx, nil); !errors.As(err, &un) || !api.IsTemporary(err) {
			t.Fatalf("got %v", err)
		}
		if _, err := c.ChainNotify(ctx); !errors.As(err, &un) {
			t.Fatalf("got %v", err)
		}
		srv = Serve(t, Parts{Chain: impl, Listen: srv.Addr})
	}
	if _, err := c.StateCirculatingSupply(ctx, nil); err != nil {
		t.Fatal(err)
	}
}

func TestCallerCancels(t *testing.T) {
	impl := &echo{}
	m := Serve(t, Parts{Storage: impl}).Miner(t, AdminToken)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { _, err := m.TaskWait(ctx, api.UUID{}); done <- err }()
	for !impl.saw("wait") {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	for !impl.saw("ended") { // the server notices
		time.Sleep(time.Millisecond)
	}
}

func TestStopEndsLongCalls(t *testing.T) {
	impl := &echo{}
	srv := Serve(t, Parts{Storage: impl})
	m := srv.Miner(t, AdminToken)
	done := make(chan error, 1)
	go func() { _, err := m.TaskWait(context.Background(), api.UUID{}); done <- err }()
	for !impl.saw("wait") {
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	srv.Stop()
	if err := <-done; err == nil {
		t.Fatal("a stopped server answered")
	}
	if d := time.Since(began); d > 8*time.Second {
		t.Fatalf("stopping took %s", d)
	}
}

func TestRequestLimit(t *testing.T) {
	impl := &echo{balance: big.Zero()}
	srv := Serve(t, Parts{Chain: impl, MaxRequestBytes: 4096})
	c := srv.Chain(t, AdminToken)
	var invalid *api.ErrInvalid
	_, err := c.WalletVerify(context.Background(), addr{}, make([]byte, 8192), nil)
	if !errors.As(err, &invalid) || !strings.Contains(err.Error(), "4096") {
		t.Fatalf("got %v", err)
	}
	if _, err := c.StateCirculatingSupply(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
}

func TestRevokedOnOpenWebsocket(t *testing.T) {
	impl := &echo{balance: big.Zero()}
	srv := Serve(t, Parts{Chain: impl})
	srv.Tokens.Set("r.e.ad", api.PermRead)
	ws := dialRaw(t, srv, "r.e.ad")
	if answer := ws.ask(t, `{"jsonrpc":"2.0","id":1,"method":"Filecoin.ChainHead","params":[]}`); !strings.Contains(answer,
		`"result":null`) {
		t.Fatal(answer)
	}
	srv.Tokens.Set("r.e.ad")
	if answer := ws.ask(t, `{"jsonrpc":"2.0","id":2,"method":"Filecoin.ChainHead","params":[]}`); !strings.Contains(answer,
		"missing permission") {
		t.Fatal(answer)
	}
}

func TestWebsocketLimit(t *testing.T) {
	srv := Serve(t, Parts{Chain: &echo{}, MaxRequestBytes: 4096})
	ws := dialRaw(t, srv, AdminToken)
	pad := strings.Repeat(" ", 4000)
	if answer := ws.ask(t, pad+`{"jsonrpc":"2.0","id":1,"method":"Filecoin.ChainHead","params":[]}`); !strings.Contains(answer, "result") {
		t.Fatal(answer)
	}
	if err := ws.write(pad + pad); err != nil {
		t.Fatal(err)
	}
	if _, err := ws.read(); err == nil {
		t.Fatal("a message over the limit was taken")
	}
}
