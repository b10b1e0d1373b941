package sealing

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"

	"quarry/api"
	"quarry/proofs/commp"
)

func TestSameKeySamePlaceForEverybody(t *testing.T) {
	w := newWorld()
	w.hold = true
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	const keys, callers = 6, 5
	var mu sync.Mutex
	places := map[string]map[api.PiecePlacement]int{}
	var wg sync.WaitGroup
	for k := range keys {
		req := aPiece(t, fmt.Sprintf("key-%d", k), 1<<20)
		for range callers {
			wg.Go(func() {
				at, err := s.SectorAddPiece(bg, req)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if places[req.Key] == nil {
					places[req.Key] = map[api.PiecePlacement]int{}
				}
				places[req.Key][at]++
			})
		}
	}
	wg.Wait()
	taken := map[api.PiecePlacement]string{}
	for key, at := range places {
		if len(at) != 1 {
			t.Errorf("key %s was given %d places: %v", key, len(at), at)
		}
		for p, n := range at {
			if n != callers || taken[p] != "" {
				t.Errorf("place %+v: %d answers, also given to %q", p, n, taken[p])
			}
			taken[p] = key
			got, err := s.SectorPlacement(bg, key)
			if err != nil || got != p {
				t.Errorf("SectorPlacement(%s) = %+v, %v; want %+v", key, got, err, p)
			}
		}
	}
	if len(places) != keys {
		t.Errorf("%d keys placed, want %d", len(places), keys)
	}
}

func TestRefusedPieces(t *testing.T) {
	w := newWorld()
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	ok := aPiece(t, "ok", 1<<20)
	cases := map[string]func(*api.AddPieceRequest){
		"no key":                  func(r *api.AddPieceRequest) { r.Key = "" },
		"endless key":             func(r *api.AddPieceRequest) { r.Key = string(make([]byte, maxKey+1)) },
		"no piece size":           func(r *api.AddPieceRequest) { r.Piece.Size = 1000 },
		"larger than the sector":  func(r *api.AddPieceRequest) { r.Piece.Size = 2 * testSize },
		"more payload than piece": func(r *api.AddPieceRequest) { r.Data.Size = 1 << 20 },
		"starts too soon":         func(r *api.AddPieceRequest) { r.Deal.StartEpoch = 1059 },
		"ends before it starts":   func(r *api.AddPieceRequest) { r.Deal.EndEpoch = r.Deal.StartEpoch },
		"ends beyond any sector":  func(r *api.AddPieceRequest) { r.Deal.EndEpoch = 1001 + miner.MaxSectorExpirationExtension },
		"CID of another kind": func(r *api.AddPieceRequest) {
			r.Piece.PieceCID = (&api.Message{To: testMiner(), From: testMiner()}).Cid()
		},
	}
	for name, spoil := range cases {
		r := ok
		spoil(&r)
		var invalid *api.ErrInvalid
		if _, err := s.SectorAddPiece(bg, r); !errors.As(err, &invalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	if list, _ := s.SectorsList(bg, 0, 0); len(list) != 0 {
		t.Errorf("refused pieces opened %d sectors", len(list))
	}
}

func TestMismatchIsToldAndThePlaceUsedAgain(t *testing.T) {
	w := newWorld()
	w.hold = true
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	bad := aPiece(t, "bad", 1<<20)
	bad.Data.URL = "wrong"
	var mismatch *api.ErrPieceMismatch
	if _, err := s.SectorAddPiece(bg, bad); !errors.As(err, &mismatch) || mismatch.Want != bad.Piece.PieceCID.String() ||
		mismatch.Got != "baga-other" {
		t.Fatalf("got %v, want the mismatch", err)
	}
	var gone *api.ErrNotFound
	if _, err := s.SectorPlacement(bg, "bad"); !errors.As(err, &gone) {
		t.Errorf("placement of a dropped piece: %v", err)
	}
	at, err := s.SectorAddPiece(bg, aPiece(t, "good", 4<<20))
	if err != nil || at.Offset != 0 {
		t.Errorf("placed at %+v (%v), want the start of the sector", at, err)
	}
	good := aPiece(t, "good", 2<<20)
	var invalid *api.ErrInvalid
	if _, err := s.SectorAddPiece(bg, good); !errors.As(err, &invalid) {
		t.Errorf("the key of another piece: %v, want ErrInvalid", err)
	}
	// The same key with other bytes is a new try.
	bad.Data.URL = "right"
	if _, err := s.SectorAddPiece(bg, bad); err != nil {
		t.Error(err)
	}
}

// TestDroppedInTheMiddle: a piece that fails after others were promised places
// behind it leaves zeros, and nobody moves.
func TestDroppedInTheMiddle(t *testing.T) {
	w := newWorld()
	w.hold = true
	gate := make(chan struct{})
	w.block[api.TaskAddPiece] = gate
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	type answer struct {
		at  api.PiecePlacement
		err error
	}
	answers := make([]chan answer, 3)
	for i := range answers {
		r := aPiece(t, fmt.Sprintf("p%d", i), 2<<20)
		if i == 1 {
			r.Data.URL = "wrong"
		}
		answers[i] = make(chan answer, 1)
		go func() {
			at, err := s.SectorAddPiece(bg, r)
			answers[i] <- answer{at, err}
		}()
		until(t, s, 2, "plan grown", func(info api.SectorInfo) bool { return len(info.Pieces) == i+1 })
	}
	close(gate)
	for i, ch := range answers {
		a := <-ch
		if (a.err != nil) != (i == 1) || i != 1 && a.at.Offset != abi.PaddedPieceSize(i)*(2<<20) {
			t.Errorf("piece %d: %+v %v", i, a.at, a.err)
		}
	}
	if err := s.SectorStartSealing(bg, 2); err != nil {
		t.Fatal(err)
	}
	w.release()
	info := untilState(t, s, 2, api.SectorProving)
	if info.Pieces[1].DealInfo != nil || info.Pieces[1].Piece.PieceCID != commp.ZeroPiece(2<<20) {
		t.Errorf("the failed piece is %+v, want filler", info.Pieces[1])
	}
}

func TestBytesThatCannotBeHad(t *testing.T) {
	w := newWorld()
	w.hold = true
	for range pieceTries {
		w.taskFails[api.TaskAddPiece] = append(w.taskFails[api.TaskAddPiece], taskFail{"connection refused", true})
	}
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	var busy *api.ErrBusy
	if _, err := s.SectorAddPiece(bg, aPiece(t, "p", 1<<20)); !errors.As(err, &busy) {
		t.Fatalf("got %v, want ErrBusy after %d tries", err, pieceTries)
	}
	if _, err := s.SectorAddPiece(bg, aPiece(t, "p", 1<<20)); err != nil {
		t.Fatalf("the next offer: %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checkSpent(t)
}

func TestCallerMayLeaveAndComeBack(t *testing.T) {
	w := newWorld()
	w.hold = true
	gate := make(chan struct{})
	w.block[api.TaskAddPiece] = gate
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
	defer cancel()
	if _, err := s.SectorAddPiece(ctx, aPiece(t, "p", 1<<20)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	close(gate)
	at, err := s.SectorAddPiece(bg, aPiece(t, "p", 1<<20))
	if err != nil || at.Sector.Number != 2 {
		t.Fatalf("%+v %v", at, err)
	}
	if list, _ := s.SectorsList(bg, 0, 0); len(list) != 1 {
		t.Errorf("%d sectors, want 1", len(list))
	}
}

// TestNewSourceForTheSamePiece: the owner comes back under another address
// while the old one is still being tried.
func TestNewSourceForTheSamePiece(t *testing.T) {
	w := newWorld()
	w.hold = true
	gate := make(chan struct{})
	w.block[api.TaskAddPiece] = gate
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	r := aPiece(t, "p", 1<<20)
	ctx, cancel := context.WithCancel(bg)
	first := make(chan error, 1)
	go func() { _, err := s.SectorAddPiece(ctx, r); first <- err }()
	until(t, s, 2, "has a task", func(i api.SectorInfo) bool { return i.Task != nil })
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	r.Data.URL = "http://elsewhere/p"
	second := make(chan error, 1)
	go func() { _, err := s.SectorAddPiece(bg, r); second <- err }()
	until(t, s, 2, "submitted the new source", func(i api.SectorInfo) bool {
		if i.Task == nil || len(i.Task.Spec.Params) > 0 { // whose bearers are not for who reads the status
			return false
		}
		st, err := w.TaskGet(bg, i.Task.ID)
		return err == nil && strings.Contains(string(st.Spec.Params), "elsewhere")
	})
	close(gate)
	if err := <-second; err != nil {
		t.Fatal(err)
	}
}

func TestLimits(t *testing.T) {
	w := newWorld()
	w.hold = true
	cfg := testConfig()
	cfg.MaxWaitDealsSectors, cfg.MaxSealing, cfg.MaxDealsPerSector = 1, 2, 2
	s := open(t, w, memStore(), cfg)
	start(t, s)
	var busy *api.ErrBusy
	if _, err := s.SectorAddPiece(bg, aPiece(t, "a", 4<<20)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SectorAddPiece(bg, aPiece(t, "b", 8<<20)); !errors.As(err, &busy) {
		t.Errorf("a second open sector: %v, want ErrBusy", err)
	}
	if _, err := s.PledgeSector(bg); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PledgeSector(bg); !errors.As(err, &busy) {
		t.Errorf("a third sector: %v, want ErrBusy", err)
	}
	if _, err := s.SectorAddPiece(bg, aPiece(t, "c", 1<<20)); err != nil {
		t.Fatal(err)
	}
	// Two deals are what this sector takes: it is sealed without waiting.
	until(t, s, 2, "packed", func(i api.SectorInfo) bool { return i.State != api.SectorWaitDeals && i.State != api.SectorAddPiece })
}

func TestNothingStartsWhereItCannotBeProven(t *testing.T) {
	w := newWorld()
	cfg := testConfig()
	cfg.VanillaAccepted = false
	s := open(t, w, memStore(), cfg)
	start(t, s)
	var unsupported *api.ErrUnsupportedProof
	if _, err := s.PledgeSector(bg); !errors.As(err, &unsupported) {
		t.Errorf("pledge: %v", err)
	}
	if _, err := s.SectorAddPiece(bg, aPiece(t, "p", 1<<20)); !errors.As(err, &unsupported) {
		t.Errorf("add piece: %v", err)
	}
	if len(w.submitted) != 0 || len(w.keyed) != 0 {
		t.Error("something was spent")
	}
}
