package main

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// rights are the methods that a markets node needs. What they give depends on what
// is asked; the tries of files and paths look at that.
var rights = strings.Fields(`Version Session Handshake ActorAddress ActorSectorSize SectorsStatus
	SectorAddPiece SectorPlacement SectorUnseal
	StorageAttach StorageDetach StorageReportHealth StorageFindSector StorageFileBearer StorageLock StorageRenewLock StorageUnlock`)

// interfaces are all that any of our processes serves.
var interfaces = []reflect.Type{
	reflect.TypeFor[api.Common](), reflect.TypeFor[api.Net](), reflect.TypeFor[api.Storage](), reflect.TypeFor[api.Sealing](),
	reflect.TypeFor[api.Mining](), reflect.TypeFor[api.Markets](), reflect.TypeFor[api.Chain](), reflect.TypeFor[api.Node](),
	reflect.TypeFor[api.Devnet](),
}

// methods tries every method of every interface but the peer's own, with the peer's
// token, at the private node and at the worker, and with no token at all.
func (a *attack) methods() (out []try) {
	seen := map[string]bool{}
	for _, i := range interfaces {
		for m := range i.Methods() {
			if seen[m.Name] {
				continue
			}
			seen[m.Name] = true
			out = append(out, try{"method " + m.Name, func(ctx context.Context) error {
				params := zeroParams(m.Type)
				if !slices.Contains(rights, m.Name) {
					if err := a.closed(ctx, a.Private, a.token, m.Name, params); err != nil {
						return err
					}
				}
				if err := a.closed(ctx, a.Private, "", m.Name, params); err != nil {
					return err
				}
				if a.Worker == "" {
					return nil
				}
				return a.closed(ctx, a.Worker, a.token, m.Name, params)
			}})
		}
	}
	return out
}

// closed requires that a token does not open a method.
func (a *attack) closed(ctx context.Context, base, token, method string, params []any) error {
	r, err := a.call(ctx, base, token, method, params...)
	switch {
	case err != nil:
		return err
	case r.Error == nil:
		return fmt.Errorf("%s at %s gave %.200s", method, base, r.Result)
	case slices.Contains([]int{codePermission, codeNoMethod, -401, -403}, r.Error.Code):
		return nil
	}
	return fmt.Errorf("%s at %s was let in: %s", method, base, r.Error.Message)
}

// zeroParams are the zero values of what a method takes.
func zeroParams(m reflect.Type) []any {
	out := []any{}
	for i := 1; i < m.NumIn(); i++ { // the first is the context
		v := reflect.Zero(m.In(i)).Interface()
		if _, amount := v.(abi.TokenAmount); amount {
			v = "0"
		}
		out = append(out, v)
	}
	return out
}
