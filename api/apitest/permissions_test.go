package apitest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// needs is the permission of each method of the storage roles.
var needs = map[api.Permission][]string{
	api.PermRead: {"StorageList", "StorageGet", "StorageFiles", "TaskGet", "TaskWait", "TaskList", "TaskQuery", "WorkerList"},
	api.PermStorageRead: {
		"StorageAttach", "StorageDetach", "StorageReportHealth", "StorageFindSector", "StorageFileBearer",
		"StorageLock", "StorageRenewLock", "StorageUnlock",
	},
	api.PermWorker: {
		"StorageDeclareSectors", "StorageDropSectors", "StorageBestAlloc", "StorageFileKey",
		"WorkerClaim", "WorkerProgress", "WorkerDone",
	},
	api.PermTasks: {"TaskSubmit", "TaskForget", "TaskRetry", "TaskAbort", "TaskCancel", "RemoveSector"},
	api.PermProve: {"ProveWindow", "ProveWinning", "CheckProvable", "ProverState"},
	api.PermAdmin: {"StorageAddLocal", "StorageDetachLocal"},
}

// holders are tokens with what they may do of storage.
func holders(t *testing.T) map[string]struct{ carries, may []api.Permission } {
	t.Helper()
	role := func(r api.Role) []api.Permission {
		p, ok := api.RolePermissions(r)
		if !ok {
			t.Fatalf("no role %s", r)
		}
		return p
	}
	all := []api.Permission{api.PermRead, api.PermStorageRead, api.PermWorker, api.PermTasks, api.PermProve, api.PermAdmin}
	return map[string]struct{ carries, may []api.Permission }{
		"p.e.er":   {role(api.RoleMarketsPeer), []api.Permission{api.PermStorageRead}},
		"w.or.ker": {role(api.RoleWorker), []api.Permission{api.PermRead, api.PermStorageRead, api.PermWorker}},
		"t.as.ks":  {[]api.Permission{api.PermTasks}, []api.Permission{api.PermTasks}},
		"p.ro.ve":  {[]api.Permission{api.PermProve}, []api.Permission{api.PermProve}},
		"r.e.ad":   {api.ClassicPermissions(api.PermRead), []api.Permission{api.PermRead}},
		"w.ri.te":  {api.ClassicPermissions(api.PermWrite), []api.Permission{api.PermRead}},
		"s.i.gn":   {api.ClassicPermissions(api.PermSign), []api.Permission{api.PermRead}},
		"a.d.min":  {api.ClassicPermissions(api.PermAdmin), all},
		// As they were made before storage had words of its own, and by Lotus.
		"o.l.d": {[]api.Permission{api.PermRead, api.PermWrite, api.PermSign, api.PermAdmin}, all},
	}
}

// nobody answers every call with *api.ErrUnreachable: it was let in.
type nobody struct {
	api.IndexStruct
	api.LeasesStruct
	api.TasksStruct
	api.FleetStruct
	api.ProverStruct
}

func TestEveryStorageMethodNeedsItsPermission(t *testing.T) {
	impl := &nobody{}
	srv := Serve(t, Parts{Storage: impl})
	for token, c := range holders(t) {
		srv.Tokens.Set(token, c.carries...)
		ways := map[string]api.Storage{
			"http":      srv.Miner(t, token),
			"websocket": srv.Socket(t, token),
		}
		if token != "o.l.d" { // what is allowed over a link is in no token
			ways["pull"] = Pulled(t, Parts{Storage: impl}, c.carries...)
		}
		for way, s := range ways {
			for perm, methods := range needs {
				for _, m := range methods {
					err := callZero(t, s, m)
					var missing *api.ErrPermission
					var inside *api.ErrUnreachable
					switch {
					case slices.Contains(c.may, perm) && !errors.As(err, &inside):
						t.Errorf("%s over %s may call %s, and got %v", token, way, m, err)
					case !slices.Contains(c.may, perm) && (!errors.As(err, &missing) ||
						*missing != api.ErrPermission{Method: m, Need: perm}):
						t.Errorf("%s over %s called %s and got %v", token, way, m, err)
					}
				}
			}
		}
	}
}

// Every method of the roles is in the table above.
func TestEveryStorageMethodIsListed(t *testing.T) {
	var listed []string
	for _, methods := range needs {
		listed = append(listed, methods...)
	}
	slices.Sort(listed)
	var there []string
	for m := range reflect.TypeFor[api.Storage]().Methods() {
		there = append(there, m.Name)
	}
	slices.Sort(there)
	if !slices.Equal(listed, there) {
		t.Errorf("listed are %v, the roles have %v", listed, there)
	}
}

// callZero calls a method with the zero value of everything.
func callZero(t *testing.T, s any, method string) error {
	t.Helper()
	m := reflect.ValueOf(s).MethodByName(method)
	if !m.IsValid() {
		t.Fatalf("no method %s", method)
	}
	args := []reflect.Value{reflect.ValueOf(context.Background())}
	for i := 1; i < m.Type().NumIn(); i++ {
		arg := reflect.Zero(m.Type().In(i))
		if arg.Type() == reflect.TypeFor[abi.TokenAmount]() {
			arg = reflect.ValueOf(abi.NewTokenAmount(0)) // the zero value is no number
		}
		args = append(args, arg)
	}
	out := m.Call(args)
	err, _ := out[len(out)-1].Interface().(error)
	return err
}

// A token that is taken back while its websocket is open opens nothing any more.
func TestRevokedOnAnOpenSocket(t *testing.T) {
	srv := Serve(t, Parts{Storage: &nobody{}})
	srv.Tokens.Set("w.or.ker", api.PermRead)
	s := srv.Socket(t, "w.or.ker")
	var inside *api.ErrUnreachable
	if err := callZero(t, s, "StorageList"); !errors.As(err, &inside) {
		t.Fatal(err)
	}
	srv.Tokens.Set("w.or.ker")
	var missing *api.ErrPermission
	if err := callZero(t, s, "StorageList"); !errors.As(err, &missing) {
		t.Fatalf("got %v", err)
	}
}
