package porep

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/chacha20"
)

// Domain separators of storage-proofs-porep/src/stacked/vanilla/challenges.rs
// and FIP-0059, FIP-0090.
const (
	tagNonInteractive = "filecoin.io|PoRep|1|NonInteractive|1"
	tagSynthGenerate  = "filecoin.io|PoRep|1|Synthetic|1|Generation"
	tagSynthSelect    = "filecoin.io|PoRep|1|Synthetic|1|Selection"
	maxSynthetic      = 1 << 18
)

// challenges are the nodes that partition k must open.
func (par *params) challenges(replicaID, commR, seed [32]byte, k int) []uint64 {
	out := make([]uint64, par.perPartition)
	first := uint32(k * par.perPartition)
	switch par.feature {
	case synthetic:
		set := newSynthSet(par.nodes, replicaID, commR)
		for i, x := range synthIndexes(par.synthTotal, replicaID, seed, int(first), par.perPartition) {
			out[i] = set.at(uint64(x))
		}
	case nonInteractive:
		for i := range out {
			msg := append([]byte(tagNonInteractive), replicaID[:]...)
			msg = append(msg, commR[:]...)
			out[i] = challengeNode(sha256.Sum256(binary.LittleEndian.AppendUint32(msg, first+uint32(i))), par.nodes)
		}
	default:
		for i := range out {
			msg := append(append(make([]byte, 0, 68), replicaID[:]...), seed[:]...)
			out[i] = challengeNode(sha256.Sum256(binary.LittleEndian.AppendUint32(msg, first+uint32(i))), par.nodes)
		}
	}
	return out
}

// challengeNode reduces a little-endian 256-bit number to 1 … nodes-1.
func challengeNode(digest [32]byte, nodes uint64) uint64 {
	var rem uint64
	for w := 3; w >= 0; w-- {
		_, rem = bits.Div64(rem, binary.LittleEndian.Uint64(digest[w*8:]), nodes-1)
	}
	return rem + 1
}

// synthSet is the set of challenges that synthetic PoRep selects from.
type synthSet struct {
	key   []byte
	nodes uint64
}

func newSynthSet(nodes uint64, replicaID, commR [32]byte) synthSet {
	return synthSet{key: keyed(tagSynthGenerate, replicaID, commR), nodes: nodes}
}

// at is challenge number i of the set.
func (s synthSet) at(i uint64) uint64 {
	var d [32]byte
	synthStream(s.key, i*32, d[:])
	return challengeNode(d, s.nodes)
}

// synthIndexes are the positions in a set of total challenges that the seed
// selects, count of them beginning with number first.
func synthIndexes(total uint64, replicaID, seed [32]byte, first, count int) []uint32 {
	raw := make([]byte, 4*count)
	synthStream(keyed(tagSynthSelect, replicaID, seed), uint64(first)*4, raw)
	out := make([]uint32, count)
	for i := range out {
		out[i] = uint32(uint64(binary.LittleEndian.Uint32(raw[i*4:])) % total)
	}
	return out
}

func keyed(tag string, a, b [32]byte) []byte {
	h, err := blake2b.New256([]byte(tag))
	if err != nil {
		panic(fmt.Sprintf("porep: a tag of %d bytes must fit as a BLAKE2b key: %v", len(tag), err))
	}
	h.Write(a[:])
	h.Write(b[:])
	return h.Sum(nil)
}

// synthStream fills out with the ChaCha20 key stream from byte off on.
func synthStream(key []byte, off uint64, out []byte) {
	c, err := chacha20.NewUnauthenticatedCipher(key, []byte("synth-porep\x00"))
	if err != nil {
		panic("porep: a 32-byte key and 12-byte nonce must do: " + err.Error())
	}
	c.SetCounter(uint32(off / 64))
	skip := make([]byte, off%64)
	c.XORKeyStream(skip, skip)
	clear(out)
	c.XORKeyStream(out, out)
}
