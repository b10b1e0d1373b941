package porep

import (
	"bytes"
	"context"
	"encoding/hex"
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
				PorepID: node(t, v.PorepID), ProverID: [32]byte{0xe8, 0x07}, Size: abi.SectorSize(v.Size),
				Legacy: v.API == "1.0.0", Synthetic: slices.Contains(v.Features, "synthetic-porep"),
			}}
			ticket, seed := node(t, v.Ticket), node(t, v.Seed)
			d, err := commcid.DataCommitmentV1ToCID(mustHex(t, v.CommD))
			if err != nil {
				t.Fatal(err)
			}
			pieces := []abi.PieceInfo{{Size: abi.PaddedPieceSize(v.Size), PieceCID: d}}
			data, cache, sealed := bytes.NewReader(vectorData(v.Size)), newMemFiles(), &memFile{make([]byte, v.Size)}
			pc1, err := PreCommit1(ctx, PreCommit1Task{Sector: s, Ticket: ticket[:], Pieces: pieces, Unsealed: data, Cache: cache}, LabelOptions{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			com, err := PreCommit2(ctx, PreCommit2Task{Sector: s, PC1: pc1, Unsealed: data, Sealed: sealed, Cache: cache}, nil)
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
			back := UnsealTask{Sector: s, Ticket: ticket[:], CommD: d, Sealed: sealed, Out: &out, Size: abi.PaddedPieceSize(v.Size)}
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
