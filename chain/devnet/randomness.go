package devnet

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"
	"golang.org/x/crypto/blake2b"

	"quarry/api"
	"quarry/internal/filcrypto"
)

// drawDigest mixes a purpose, an epoch and entropy into a randomness base that
// is already hashed (lotus chain/rand DrawRandomnessFromDigest).
func drawDigest(digest [32]byte, tag crypto.DomainSeparationTag, epoch abi.ChainEpoch, entropy []byte) []byte {
	buf := make([]byte, 0, 48+len(entropy))
	buf = binary.BigEndian.AppendUint64(buf, uint64(tag))
	buf = append(buf, digest[:]...)
	buf = binary.BigEndian.AppendUint64(buf, uint64(epoch))
	out := blake2b.Sum256(append(buf, entropy...))
	return out[:]
}

// draw hashes the base first.
func draw(base []byte, tag crypto.DomainSeparationTag, epoch abi.ChainEpoch, entropy []byte) []byte {
	return drawDigest(blake2b.Sum256(base), tag, epoch, entropy)
}

// minerEntropy is the CBOR of the miner's ID address.
func minerEntropy(maddr address.Address) ([]byte, error) {
	var buf bytes.Buffer
	if err := maddr.MarshalCBOR(&buf); err != nil {
		return nil, fmt.Errorf("encode miner address: %w", err)
	}
	return buf.Bytes(), nil
}

// beacon is the network's own randomness beacon: the entry of an epoch is the
// BLS signature of the round number by a key that only the node has. Signing is
// deterministic, so that any epoch's entry can be recomputed at any time.
type beacon struct {
	key   []byte
	mu    sync.Mutex
	cache map[abi.ChainEpoch][]byte
}

const beaconCache = 8192

func newBeacon(key []byte) *beacon { return &beacon{key: key, cache: map[abi.ChainEpoch][]byte{}} }

// entry is the round of an epoch; the genesis round is 32 zero bytes.
func (b *beacon) entry(epoch abi.ChainEpoch) (api.BeaconEntry, error) {
	if epoch <= 0 {
		return api.BeaconEntry{Data: make([]byte, 32)}, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if d, ok := b.cache[epoch]; ok {
		return api.BeaconEntry{Round: uint64(epoch), Data: d}, nil
	}
	msg := blake2b.Sum256(binary.BigEndian.AppendUint64([]byte("quarry devnet beacon"), uint64(epoch)))
	sig, err := filcrypto.Sign(crypto.SigTypeBLS, b.key, msg[:])
	if err != nil {
		return api.BeaconEntry{}, fmt.Errorf("beacon entry of epoch %d: %w", epoch, err)
	}
	if len(b.cache) >= beaconCache {
		clear(b.cache)
	}
	b.cache[epoch] = sig.Data
	return api.BeaconEntry{Round: uint64(epoch), Data: sig.Data}, nil
}

// between lists the entries of (parent, epoch].
func (b *beacon) between(parent, epoch abi.ChainEpoch) ([]api.BeaconEntry, error) {
	out := make([]api.BeaconEntry, 0, epoch-parent)
	for e := parent + 1; e <= epoch; e++ {
		en, err := b.entry(e)
		if err != nil {
			return nil, err
		}
		out = append(out, en)
	}
	return out, nil
}

// chainRand answers randomness along the ancestry of one tipset; it is the
// externs of machines that run on it.
type chainRand struct {
	l  *ledger
	b  *beacon
	ts *api.TipSet
	// allow is the last epoch that may be asked for.
	allow abi.ChainEpoch
}

var errFuture = fmt.Errorf("cannot draw randomness from the future")

// ChainRandomness is the ticket digest of the first tipset at or after epoch.
func (r *chainRand) ChainRandomness(ctx context.Context, epoch abi.ChainEpoch) ([32]byte, error) {
	if epoch > r.ts.Height {
		return [32]byte{}, fmt.Errorf("ticket of epoch %d at height %d: %w", epoch, r.ts.Height, errFuture)
	}
	ts, err := r.l.atOrAfter(ctx, r.ts, max(epoch, 0))
	if err != nil {
		return [32]byte{}, err
	}
	return blake2b.Sum256(ts.MinTicket().VRFProof), nil
}

// BeaconRandomness is the digest of the beacon entry of epoch.
func (r *chainRand) BeaconRandomness(_ context.Context, epoch abi.ChainEpoch) ([32]byte, error) {
	if epoch > r.allow {
		return [32]byte{}, fmt.Errorf("beacon of epoch %d at epoch %d: %w", epoch, r.allow, errFuture)
	}
	e, err := r.b.entry(epoch)
	if err != nil {
		return [32]byte{}, err
	}
	return blake2b.Sum256(e.Data), nil
}
