package apitest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"quarry/api"
)

// troubled is a sealing side that fails with everything an error could tell.
type troubled struct {
	api.SealingStruct
	err error
}

func (s *troubled) SectorUnseal(context.Context, api.UnsealTarget) error { return s.err }

// A markets peer, whose host is public, learns what went wrong and not where;
// who operates the node learns all. The kind of an error crosses whole.
func TestMarketsPeersLearnNothingOfThisHost(t *testing.T) {
	const ours = "open /var/lib/miner/sealed/s-t01000-1: dial tcp 10.9.8.7:2345: token eyJhbGciOi.eyJBbGxvdy.c2lnbmF0dXJl refused"
	const said = "open <path>: dial tcp <host>: token <token> refused"
	peer, _ := api.RolePermissions(api.RoleMarketsPeer)
	s := new(troubled)
	srv := Serve(t, Parts{Sealing: s})
	srv.Tokens.Set("p.e.er", peer...)
	for name, err := range map[string]error{
		"plain": errors.New(ours),
		"typed": fmt.Errorf("read: %w", &api.ErrUnreachable{Peer: "10.9.8.7:2345", Reason: ours}),
	} {
		s.err = err
		for token, want := range map[string]string{"p.e.er": said, AdminToken: ours} {
			got := srv.Miner(t, token).SectorUnseal(t.Context(), api.UnsealTarget{})
			if got == nil || !strings.Contains(got.Error(), want) {
				t.Errorf("%s, %s: %v", name, token, got)
			}
			var typed *api.ErrUnreachable
			if name == "typed" && (!errors.As(got, &typed) || !strings.Contains(typed.Reason, want) ||
				(token == AdminToken) != strings.Contains(typed.Peer, "10.9.8.7")) {
				t.Errorf("%s: %+v", token, typed)
			}
		}
	}
}
