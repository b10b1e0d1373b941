package porep

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
)

func TestProofJSON(t *testing.T) {
	want, err := os.ReadFile("testdata/c1-2kib-v1_1.json")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, v := range sectorVectors(t) {
		id := node(t, v.PorepID)
		p := abi.RegisteredSealProof(id[0])
		if size, err := p.SectorSize(); err != nil || uint64(size) != v.Size || v.Size > 2048 {
			continue // made with another size's id, or large
		}
		_, _, blob := proved(t, p)
		got, err := ProofJSON(p, blob)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(got); hex.EncodeToString(sum[:]) != v.C1JSON.SHA256 {
			t.Errorf("%s: SHA-256 of %d bytes is %x, want %s", v.Name, len(got), sum, v.C1JSON.SHA256)
		}
		if p == test2KiB && !bytes.Equal(got, bytes.TrimSpace(want)) {
			t.Error("the JSON differs from the reference's")
		}
		checked++
	}
	if checked != 3 {
		t.Errorf("%d sectors checked", checked)
	}
	if _, err := ProofJSON(test2KiB, []byte("{}")); err == nil {
		t.Error("bytes that are no proof were turned into JSON")
	}
	if _, err := ProofJSON(99, nil); err == nil {
		t.Error("seal proof 99 accepted")
	}
}
