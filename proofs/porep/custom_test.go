package porep

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
)

// The reference's sectors again, sizes included that no chain knows, by what the
// vectors say of PoRep and prover ids.
func TestCustomVectors(t *testing.T) {
	ctx := context.Background()
	for _, v := range sectorVectors(t) {
		if v.Size > 1<<20 {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			s := Sector{Number: abi.SectorNumber(v.Number), Custom: &Custom{
				PorepID:   node(t, v.PorepID),
				ProverID:  [32]byte{0xe8, 0x07},
				Size:      abi.SectorSize(v.Size),
				Legacy:    v.API == "1.0.0",
				Synthetic: slices.Contains(v.Features, "synthetic-porep"),
			}}
			ticket, seed := node(t, v.Ticket), node(t, v.Seed)
			d, err := commcid.DataCommitmentV1ToCID(mustHex(t, v.CommD))
			if err != nil {
				t.Fatal(err)
			}
			pieces := []abi.PieceInfo{{Size: abi.PaddedPieceSize(v.Size), PieceCID: d}}
			data, cache, sealed := bytes.NewReader(vectorData(v.Size)), newMemFiles(), &memFile{make([]byte, v.Size)}
			pc1, err := PreCommit1(ctx, PreCommit1Task{
				Sector:   s,
				Ticket:   ticket[:],
				Pieces:   pieces,
				Unsealed: data,
				Cache:    cache,
			}, LabelOptions{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			com, err := PreCommit2(ctx, PreCommit2Task{
				Sector:   s,
				PC1:      pc1,
				Unsealed: data,
				Sealed:   sealed,
				Cache:    cache,
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if hex.EncodeToString(com.CommR[:]) != v.CommR || hex.EncodeToString(pc1.ReplicaID[:]) != v.ReplicaID {
				t.Fatalf("CommR %x, replica id %x; want %s, %s", com.CommR, pc1.ReplicaID, v.CommR, v.ReplicaID)
			}
			req := ProveRequest{Ticket: ticket[:], Seed: seed[:], Commitments: com}
			nodes, err := s.Challenges(req)
			if err != nil || !slices.Equal(nodes[0], v.Challenge[0]) {
				t.Errorf("challenges %v, %v; want %v", nodes, err, v.Challenge)
			}
			checkCustomProof(t, s, req, sealed, cache)
			var out bytes.Buffer
			back := UnsealTask{
				Sector: s,
				Ticket: ticket[:],
				CommD:  d,
				Sealed: sealed,
				Out:    &out,
				Size:   abi.PaddedPieceSize(v.Size),
			}
			if err := Unseal(ctx, back, LabelOptions{}, nil); err != nil || !bytes.Equal(out.Bytes(), vectorData(v.Size)) {
				t.Errorf("the data does not come back: %v", err)
			}
		})
	}
}

func checkCustomProof(t *testing.T, s Sector, req ProveRequest, sealed *memFile, cache *memFiles) {
	t.Helper()
	ctx := context.Background()
	blob, err := Prove(ctx, s, req, sealed, cache)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := VerifySector(ctx, s, req, blob); !ok || err != nil {
		t.Errorf("a good proof: %v, %v", ok, err)
	}
	other := *s.Custom
	other.ProverID[31] = 1
	if ok, err := VerifySector(ctx, Sector{Number: s.Number, Custom: &other}, req, blob); ok || err != nil {
		t.Errorf("the proof of another prover: %v, %v", ok, err)
	}
}

func mustHex(t *testing.T, s string) []byte {
	t.Helper()
	n := node(t, s)
	return n[:]
}

func TestCustomOfRegistered(t *testing.T) {
	for p := abi.RegisteredSealProof(0); p < endProofs; p++ {
		c, err := CustomOf(p, 1000)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Sector{Custom: &c}.params()
		want, err2 := paramsFor(p)
		if err != nil || err2 != nil || got != want {
			t.Errorf("seal proof %d becomes %+v, %v; want %+v, %v", p, got, err, want, err2)
		}
	}
	for name, c := range map[string]Custom{
		"size":     {Size: 3 << 10},
		"odd":      {Size: 2049},
		"both":     {Size: 2 << 10, Synthetic: true, NonInteractive: true},
		"too old":  {Size: 2 << 10, Legacy: true, Synthetic: true},
		"no bytes": {},
	} {
		if _, err := (Sector{Custom: &c}).params(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A ticket and a seed have 32 bytes, and what lacks them is said by name.
func TestTicketAndSeedHave32Bytes(t *testing.T) {
	ctx, s := context.Background(), Sector{Proof: synth2KiB, Miner: 1000, Number: 7}
	whole := make([]byte, 32)
	for _, n := range []int{0, 31, 33} {
		bad := make([]byte, n)
		ticket := fmt.Sprintf("porep: sector s-t01000-7 (seal proof 10): the ticket has %d bytes, not 32", n)
		seed := fmt.Sprintf("porep: sector s-t01000-7 (seal proof 10): the seed has %d bytes, not 32", n)
		badTicket, badSeed := ProveRequest{Ticket: bad, Seed: whole}, ProveRequest{Ticket: whole, Seed: bad}
		for want, got := range map[string][]error{
			ticket: {
				second(PreCommit1(ctx, PreCommit1Task{Sector: s, Ticket: bad}, LabelOptions{}, nil)),
				Synthesize(ctx, SynthesizeTask{Sector: s, Ticket: bad}, nil),
				Unseal(ctx, UnsealTask{Sector: s, Ticket: bad}, LabelOptions{}, nil),
				second(Prove(ctx, s, badTicket, nil, nil)),
				second(s.Challenges(badTicket)),
			},
			seed: {second(Prove(ctx, s, badSeed, nil, nil)), second(s.Challenges(badSeed))},
		} {
			for i, err := range got {
				if err == nil || err.Error() != want {
					t.Errorf("call %d: %v, want %s", i, err, want)
				}
			}
		}
		for _, req := range []ProveRequest{badTicket, badSeed} {
			if ok, err := VerifySector(ctx, s, req, nil); ok || err != nil {
				t.Errorf("verification with %d bytes: %v, %v", n, ok, err)
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }
