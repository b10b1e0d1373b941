package node

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/node/serve"
)

// talkative is sealing that tells everything and takes everything.
type talkative struct {
	api.SealingStruct
	log   bool
	taken *api.AddPieceRequest
}

func (s *talkative) SectorsStatus(_ context.Context, n abi.SectorNumber, log bool) (api.SectorInfo, error) {
	s.log = log
	info := api.SectorInfo{
		Sector:  api.SectorRef{ID: abi.SectorID{Miner: 1000, Number: n}},
		State:   api.SectorPreCommit1,
		Task:    &api.TaskStatus{Worker: "secret.host"},
		LastErr: "secret.host: /secret/path",
		Log:     []api.SectorLogEntry{{Message: "secret"}},
	}
	return info, nil
}

func (s *talkative) SectorAddPiece(_ context.Context, r api.AddPieceRequest) (api.PiecePlacement, error) {
	s.taken = &r
	return api.PiecePlacement{}, nil
}

// A markets peer is told how far a sector is; who may read is told all.
func TestPeersAreToldLittleOfASector(t *testing.T) {
	s := &talkative{}
	peer := serve.WithPermissions(t.Context(), peerPerms())
	info, err := servedSealing{s}.SectorsStatus(peer, 7, true)
	want := api.SectorInfo{Sector: api.SectorRef{ID: abi.SectorID{Miner: 1000, Number: 7}}, State: api.SectorPreCommit1}
	if err != nil || s.log || !reflect.DeepEqual(info, want) {
		t.Errorf("log %v, %+v, %v", s.log, info, err)
	}
	for name, ctx := range map[string]context.Context{"self": t.Context(),
		"read": serve.WithPermissions(t.Context(), []api.Permission{api.PermRead})} {
		info, err := servedSealing{s}.SectorsStatus(ctx, 7, true)
		if err != nil || !s.log || info.Task == nil || info.LastErr == "" || len(info.Log) != 1 {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
}

// A piece that is named by a path lies where pieces are handed over: sector files
// and what else is on a storage path are no pieces, since whoever adds a piece
// reads it back.
func TestSectorFilesAreNoPieces(t *testing.T) {
	for path, ok := range map[string]bool{
		"staging/a": true, "staging/a/b": true,
		"": false, "staging": false, "staging/": false, "stagings/a": false, "sealed/s-t01000-0": false, "cache/s-t01000-0/p_aux": false,
		"staging/../sealed/s-t01000-0": false, "/staging/a": false, "./staging/a": false, "staging//a": false, "../staging/a": false,
	} {
		s := &talkative{}
		_, err := servedSealing{s}.SectorAddPiece(t.Context(), api.AddPieceRequest{Data: api.DataRef{StorageID: "p", Path: path}})
		var invalid *api.ErrInvalid
		if (err == nil) != ok || (s.taken != nil) != ok || !ok && !errors.As(err, &invalid) {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// A markets peer cannot send this node to whatever answers in its network: only to
// where a markets node hands over the bytes of a deal.
func TestPeersSendNobodyAstray(t *testing.T) {
	const deal = "/staged/00000000-0000-4000-8000-000000000000"
	peer := serve.WithPermissions(t.Context(), peerPerms())
	for url, ok := range map[string]bool{
		"http://10.0.0.5:2346" + deal: true, "https://m.example/x" + deal: true, "http://[::1]:7" + deal: true,
		"http://169.254.169.254/latest/meta-data/": false, "http://h/x": false, "http://h" + deal + "?x=y": false, "http://h" +
			deal + "#x": false,
		"http://h/x?y=" + deal: false, "http://h/x#" + deal: false, "http://u@h" + deal: false, "http://" + deal: false, "ftp://h" +
			deal: false,
		"http://h" + deal + "/..": false, "http://h/staged/x": false, "http://h" + deal + "0": false, deal: false,
	} {
		s := &talkative{}
		r := api.AddPieceRequest{Data: api.DataRef{URL: url}}
		_, err := servedSealing{s}.SectorAddPiece(peer, r)
		var invalid *api.ErrInvalid
		if (err == nil) != ok || (s.taken != nil) != ok || !ok && !errors.As(err, &invalid) {
			t.Errorf("%s: %v", url, err)
		}
		for name, ctx := range map[string]context.Context{"self": t.Context(),
			"admin": serve.WithPermissions(t.Context(), api.AllPermissions)} {
			if _, err := (servedSealing{s}).SectorAddPiece(ctx, r); err != nil {
				t.Errorf("%s from %s: %v", url, name, err)
			}
		}
	}
}
