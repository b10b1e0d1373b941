package election

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/big"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"
	"golang.org/x/crypto/blake2b"
)

// Draw mixes a randomness base (a beacon entry or a ticket) with its purpose:
// blake2b-256(tag as i64 BE | blake2b-256(base) | epoch as i64 BE | entropy).
// Source: lotus chain/rand/rand.go, DrawRandomnessFromBase.
func Draw(base []byte, tag crypto.DomainSeparationTag, epoch abi.ChainEpoch, entropy []byte) abi.Randomness {
	digest := blake2b.Sum256(base)
	buf := make([]byte, 0, 8+len(digest)+8+len(entropy))
	buf = binary.BigEndian.AppendUint64(buf, uint64(tag))
	buf = append(buf, digest[:]...)
	buf = binary.BigEndian.AppendUint64(buf, uint64(epoch))
	buf = append(buf, entropy...)
	out := blake2b.Sum256(buf)
	return out[:]
}

// Entropy is the CBOR form of an address, the entropy of every draw that
// belongs to one miner.
func Entropy(a address.Address) ([]byte, error) {
	var buf bytes.Buffer
	if err := a.MarshalCBOR(&buf); err != nil {
		return nil, fmt.Errorf("encode address %s: %w", a, err)
	}
	return buf.Bytes(), nil
}

// TicketQuality is 1 minus the ticket's hash as a fraction: the chance that
// no other ticket of the epoch comes before it. It only guides the choice of
// messages. Source: lotus chain/types/blockheader.go, Ticket.Quality.
func TicketQuality(vrfProof []byte) float64 {
	h := blake2b.Sum256(vrfProof)
	num := new(big.Float).SetInt(new(big.Int).SetBytes(h[:]))
	den := new(big.Float).SetInt(new(big.Int).Lsh(big.NewInt(1), 256))
	q, _ := new(big.Float).Quo(num, den).Float64()
	return 1 - q
}
