package groth16

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"testing"
)

// Seal proofs that the public networks' parameters made (rust-fil-proofs
// filecoin-proofs/tests/seal_regression_records-v16.json and -v18.json) are
// canonical: they parse and are written back as they were. Whether they hold
// needs the published keys.
func TestNetworkProofsParse(t *testing.T) {
	raw, err := os.ReadFile("testdata/network.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Records []struct {
			SectorSize uint64 `json:"sector_size"`
			Partitions int    `json:"partitions"`
			Proof      []byte `json:"proof_base64"`
		} `json:"records"`
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Records) < 20 {
		t.Fatalf("%d records", len(v.Records))
	}
	for i, r := range v.Records {
		if len(r.Proof) != r.Partitions*ProofSize {
			t.Fatalf("record %d: %d bytes for %d partitions", i, len(r.Proof), r.Partitions)
		}
		for k := range r.Partitions {
			b := r.Proof[k*ProofSize : (k+1)*ProofSize]
			p, err := ParseProof(b)
			if err != nil {
				t.Fatalf("record %d of %d bytes, partition %d: %v", i, r.SectorSize, k, err)
			}
			if again, err := p.MarshalBinary(); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("record %d, partition %d: written as %s, %v", i, k, base64.StdEncoding.EncodeToString(again), err)
			}
		}
	}
}
