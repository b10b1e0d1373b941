package sealing

import (
	"context"
	"sync"
	"testing"
	"time"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"golang.org/x/crypto/blake2b"

	"quarry/api"
)

func memStore() datastore.Batching { return dssync.MutexWrap(datastore.NewMapDatastore()) }

func testConfig() Config {
	return Config{
		Miner:           testMiner(),
		ProofType:       testProof,
		VanillaAccepted: true,
		WaitDealsDelay:  20,
		RetryMin:        time.Millisecond,
		RetryMax:        4 * time.Millisecond,
	}
}

func open(t testing.TB, w *world, ds datastore.Batching, cfg Config) *Sealing {
	t.Helper()
	s, err := New(cfg, Deps{
		Store:   ds,
		Chain:   w,
		Storage: w,
		Heads:   w,
		Msgs:    w,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fixed is a time that does not change.
func fixed(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

// start runs s until the test ends or stop is called.
func start(t testing.TB, s *Sealing) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// until waits for a condition on a sector, and fails with its history.
func until(t testing.TB, s *Sealing, n abi.SectorNumber, what string, ok func(api.SectorInfo) bool) api.SectorInfo {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		info, err := s.SectorsStatus(context.Background(), n, true)
		if err == nil && ok(info) {
			return info
		}
		if time.Now().After(deadline) {
			for _, l := range info.Log {
				t.Logf("%s %s", l.State, l.Message)
			}
			t.Fatalf("sector %d never %s: state %s, last error %q (%v)", n, what, info.State, info.LastErr, err)
		}
		time.Sleep(time.Millisecond)
	}
}

func untilState(t testing.TB, s *Sealing, n abi.SectorNumber, st api.SectorState) api.SectorInfo {
	t.Helper()
	return until(t, s, n, "reached "+string(st), func(i api.SectorInfo) bool { return i.State == st })
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came about that %s", what)
		}
	}
}

// aPiece is a request for a piece of its own content.
func aPiece(t testing.TB, key string, size abi.PaddedPieceSize) api.AddPieceRequest {
	t.Helper()
	h := blake2b.Sum256([]byte(key))
	h[31] &= 0x3f
	c, err := commcid.DataCommitmentV1ToCID(h[:])
	if err != nil {
		t.Fatal(err)
	}
	return api.AddPieceRequest{Key: key, Piece: abi.PieceInfo{Size: size, PieceCID: c},
		Deal: api.PieceDealInfo{DealID: abi.DealID(7 + len(key)), StartEpoch: 5000, EndEpoch: 5000 + 400*2880},
		Data: api.DataRef{URL: "http://staged/" + key, Token: "t", Size: uint64(size.Unpadded())}}
}

var _ Chain = (*world)(nil)
var _ Storage = (*world)(nil)
