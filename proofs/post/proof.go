package post

import (
	"encoding/binary"
	"math"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/merkle"
)

// sectorProof is the reference's FallbackPoStSectorProof
// (filecoin-proofs/src/types/mod.rs): the opened leaves of one sector.
type sectorProof struct {
	Sector           abi.SectorNumber
	CommR            [32]byte
	Openings         []merkle.Proof
	CommC, CommRLast [32]byte
}

// proofSize is the length in bytes of one sectorProof.
func proofSize(k kind, f merkle.Form) int {
	return 8 + 32 + 8 + 8 + k.challenges*f.Size() + 2*32
}

func (p *sectorProof) append(b []byte, f merkle.Form) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(p.Sector))
	b = append(b, p.CommR[:]...)
	b = binary.LittleEndian.AppendUint64(b, 1) // vanilla proofs of this sector
	b = binary.LittleEndian.AppendUint64(b, uint64(len(p.Openings)))
	for i := range p.Openings {
		b = f.Append(b, &p.Openings[i])
	}
	return append(append(b, p.CommC[:]...), p.CommRLast[:]...)
}

func readSectorProof(d *merkle.Decoder, k kind, f merkle.Form) (p sectorProof) {
	n := d.Uint64()
	if n > math.MaxInt64 { // the largest sector number there is
		d.Fail("sector number %d", n)
	}
	p.Sector, p.CommR = abi.SectorNumber(n), d.Node()
	d.Expect(1, "number of vanilla proofs of a sector")
	d.Expect(uint64(k.challenges), "number of openings")
	for range k.challenges {
		if d.Err() != nil {
			return p
		}
		p.Openings = append(p.Openings, d.Proof(f))
	}
	p.CommC, p.CommRLast = d.Node(), d.Node()
	return p
}

// marshal is the bincode form of a vector of sector proofs.
func marshal(proofs []sectorProof, f merkle.Form) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(proofs)))
	for i := range proofs {
		b = proofs[i].append(b, f)
	}
	return b
}

// unmarshal reads exactly n sector proofs.
func unmarshal(blob []byte, n int, k kind, f merkle.Form) ([]sectorProof, error) {
	d := merkle.NewDecoder(blob)
	if want := 8 + n*proofSize(k, f); len(blob) != want { // before anything is allocated
		d.Fail("%d bytes, not %d", len(blob), want)
		return nil, d.Err()
	}
	d.Expect(uint64(n), "number of sectors")
	out := make([]sectorProof, 0, n)
	for range n {
		p := readSectorProof(d, k, f)
		if d.Err() != nil {
			return nil, d.Err()
		}
		out = append(out, p)
	}
	return out, d.End()
}
