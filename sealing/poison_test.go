package sealing

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/ipfs/go-datastore"

	"quarry/api"
)

// A deal with another provider, or about another piece, is refused and nothing is
// planned for it; the miner's own is taken.
func TestDealOfAnotherProvider(t *testing.T) {
	w := newWorld()
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	stranger, err := address.NewIDAddress(uint64(s.miner) + 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spoil func(*market.DealProposal)
		want  string
	}{
		"another provider": {func(p *market.DealProposal) { p.Provider = stranger },
			fmt.Sprintf("the deal is with provider %s, this node seals for %s; name the private node of %s", stranger, s.cfg.Miner,
				stranger)},
		"no provider":   {func(p *market.DealProposal) { p.Provider = address.Undef }, "the deal is with provider"},
		"another piece": {func(p *market.DealProposal) { p.PieceCID = aPiece(t, "other", 1<<20).Piece.PieceCID }, "the deal is about"},
		"another size":  {func(p *market.DealProposal) { p.PieceSize /= 2 }, "the deal is about"},
		"the right one": {func(*market.DealProposal) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := aPiece(t, "k-"+name, 1<<20)
			r.Deal.DealProposal = &market.DealProposal{PieceCID: r.Piece.PieceCID, PieceSize: r.Piece.Size, Provider: s.cfg.Miner}
			c.spoil(r.Deal.DealProposal)
			_, err := s.SectorAddPiece(bg, r)
			var invalid *api.ErrInvalid
			switch {
			case c.want == "" && err != nil:
				t.Fatal(err)
			case c.want == "":
				return
			case !errors.As(err, &invalid) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), r.Key):
				t.Errorf("got %v", err)
			}
			var none *api.ErrNotFound
			if _, err := s.SectorPlacement(bg, r.Key); !errors.As(err, &none) {
				t.Errorf("it has a place: %v", err)
			}
		})
	}
}

// A stored record that cannot be read stops its own sector: it is shown with the
// reason, keeps its number and its bytes, and nothing is done with it; its pieces
// are not put into a second sector. The others go on.
func TestPoisonedRecordStopsItsSectorOnly(t *testing.T) {
	ds := memStore()
	w := newWorld()
	s := open(t, w, ds, testConfig())
	stop := start(t, s)
	id, err := s.PledgeSector(bg)
	if err != nil {
		t.Fatal(err)
	}
	untilState(t, s, id.Number, api.SectorProving)
	stop()
	poison := map[abi.SectorNumber]string{
		90: `{"Number":90,"State":"WaitDeals","Pieces":[{"Key":"deal-key"`,
		91: `{"Number":91,"State":"Flying"}`,
		92: `{"Number":3,"State":"Proving"}`,
		93: ``,
	}
	for n, text := range poison {
		if err := ds.Put(bg, sectorsPrefix.ChildString(fmt.Sprint(n)), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := ds.Put(bg, batchesPrefix.ChildString("x"), []byte("{")); err != nil {
		t.Fatal(err)
	}
	s = open(t, w, ds, testConfig())
	start(t, s)
	for n := range poison {
		info, err := s.SectorsStatus(bg, n, true)
		if err != nil || info.State != api.SectorFailedForGood ||
			!strings.Contains(info.LastErr, "its stored record cannot be read") || !strings.Contains(info.LastErr, "restore the store") {
			t.Errorf("%+v, %v", info, err)
		}
		for what, do := range map[string]func(context.Context, abi.SectorNumber) error{"remove": s.SectorRemove,
			"retry": s.SectorRetry, "seal": s.SectorStartSealing} {
			var invalid *api.ErrInvalid
			if err := do(bg, n); !errors.As(err, &invalid) || !strings.Contains(err.Error(), "cannot be read") {
				t.Errorf("%s of %d: %v", what, n, err)
			}
		}
	}
	var busy *api.ErrBusy
	if _, err := s.SectorAddPiece(bg, aPiece(t, "deal-key", 1<<20)); !errors.As(err, &busy) || !strings.Contains(err.Error(), s.name(90)) {
		t.Errorf("a piece of the poisoned sector: %v", err)
	}
	if _, err := s.SectorPlacement(bg, "deal-key"); !errors.As(err, &busy) { // its owner must not place it again
		t.Errorf("the place of a piece of the poisoned sector: %v", err)
	}
	if _, err := s.SectorAddPiece(bg, aPiece(t, "other-key", 1<<20)); err != nil {
		t.Errorf("another piece: %v", err)
	}
	next, err := s.PledgeSector(bg)
	if err != nil || poison[next.Number] != "" {
		t.Fatalf("%v, %v", next, err)
	}
	untilState(t, s, next.Number, api.SectorProving)
	if list, err := s.SectorsList(bg, 0, 0); err != nil || len(list) != len(poison)+3 {
		t.Errorf("%d sectors, %v", len(list), err)
	}
	for n, text := range poison {
		if b, err := ds.Get(bg, sectorsPrefix.ChildString(fmt.Sprint(n))); err != nil || string(b) != text {
			t.Errorf("record %d became %q, %v", n, b, err)
		}
	}
	if err := ds.Put(bg, datastore.NewKey("/sectors/x"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := New(testConfig(), Deps{
		Store:   ds,
		Chain:   w,
		Storage: w,
		Heads:   w,
		Msgs:    w,
	}); err == nil || !strings.Contains(err.Error(), "has no number") {
		t.Errorf("a key of somebody else: %v", err)
	}
}

// panicking is a storage that panics for the tasks of one sector, at first.
type panicking struct {
	*world
	mu   sync.Mutex
	of   abi.SectorNumber
	left int
}

func (p *panicking) TaskSubmit(ctx context.Context, spec api.TaskSpec) (api.TaskStatus, error) {
	p.mu.Lock()
	bad := spec.Sector.ID.Number == p.of && p.left > 0
	if bad {
		p.left--
	}
	p.mu.Unlock()
	if bad {
		panic("index out of range")
	}
	return p.world.TaskSubmit(ctx, spec)
}

// A panic in the work of a sector is a failure of that sector, which is tried
// again like others.
func TestPanicIsAFailureOfItsSector(t *testing.T) {
	w := newWorld()
	p := &panicking{world: w, left: 2}
	s, err := New(testConfig(), Deps{
		Store:   memStore(),
		Chain:   w,
		Storage: p,
		Heads:   w,
		Msgs:    w,
	})
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.PledgeSector(bg)
	if err != nil {
		t.Fatal(err)
	}
	p.of = first.Number
	second, err := s.PledgeSector(bg)
	if err != nil {
		t.Fatal(err)
	}
	start(t, s)
	untilState(t, s, second.Number, api.SectorProving)
	info := untilState(t, s, first.Number, api.SectorProving)
	said := 0
	for _, l := range info.Log {
		if strings.Contains(l.Message, "internal error in state") && strings.Contains(l.Message, "index out of range") {
			said++
		}
	}
	if said == 0 || p.left != 0 {
		t.Errorf("%d lines, %d left: %+v", said, p.left, info.Log)
	}
}
