package apitest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"

	"quarry/api"
)

// Over the link of pull mode a markets node calls what its role may, and nothing
// else, of every part that a private node has.
func TestOverTheLinkAsTheRoleMay(t *testing.T) {
	perms, _ := api.RolePermissions(api.RoleMarketsPeer)
	parts := Parts{Common: &api.CommonStruct{}, Storage: &nobody{}, Sealing: &api.SealingStruct{}, Mining: &api.MiningStruct{}}
	c := Pulled(t, parts, perms...)
	var denied *api.ErrPermission
	var inside *api.ErrUnreachable
	may := map[bool]int{}
	for _, part := range []any{
		&c.CommonStruct.Internal, &c.IndexStruct.Internal, &c.LeasesStruct.Internal, &c.TasksStruct.Internal,
		&c.FleetStruct.Internal, &c.ProverStruct.Internal, &c.SealingStruct.Internal, &c.MiningStruct.Internal,
	} {
		v := reflect.ValueOf(part).Elem()
		for i := range v.NumField() {
			m := v.Type().Field(i)
			args := []reflect.Value{reflect.ValueOf(context.Background())}
			for k := 1; k < m.Type.NumIn(); k++ {
				args = append(args, reflect.Zero(m.Type.In(k)))
			}
			out := v.Field(i).Call(args)
			err, _ := out[len(out)-1].Interface().(error)
			allowed := slices.Contains(perms, api.Permission(m.Tag.Get("perm")))
			if may[allowed]++; allowed && !errors.As(err, &inside) || !allowed && !errors.As(err, &denied) {
				t.Errorf("%s, which needs %s: %v", m.Name, m.Tag.Get("perm"), err)
			}
		}
	}
	if may[true] < 5 || may[false] < 20 {
		t.Errorf("only %v methods were tried", may)
	}
}
