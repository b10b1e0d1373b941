package sdr

import (
	"crypto/sha256"
	"encoding/binary"
)

// Node is a 32-byte label, a little-endian field element.
type Node = [32]byte

const (
	nodeSize   = 32
	headerSize = 64
	msgSize    = headerSize + HashedParents*nodeSize
)

// ReplicaID binds a replica to its prover, sector, ticket, data and graph
// (storage-proofs-porep/src/stacked/vanilla/params.rs, generate_replica_id).
func ReplicaID(prover Node, sector uint64, ticket, commD, porepID Node) Node {
	msg := make([]byte, 0, 4*nodeSize+8)
	msg = append(msg, prover[:]...)
	msg = binary.BigEndian.AppendUint64(msg, sector)
	msg = append(msg, ticket[:]...)
	msg = append(msg, commD[:]...)
	msg = append(msg, porepID[:]...)
	return sum254(msg)
}

// ProverID is the prover part of a replica id: the actor id as an unsigned
// varint, zero-padded.
func ProverID(actor uint64) (id Node) {
	binary.PutUvarint(id[:], actor)
	return id
}

// RepeatParents gives the 37 parent labels that are hashed into a label of
// layer (from 1): the base parents' labels in that layer and, above layer 1,
// the expansion parents' labels in the layer below, repeated in this order.
func RepeatParents(layer int, base *[BaseDegree]Node, exp *[ExpDegree]Node) (out [HashedParents]Node) {
	for i := range out {
		switch {
		case layer == 1:
			out[i] = base[i%BaseDegree]
		case i%Degree < BaseDegree:
			out[i] = base[i%Degree]
		default:
			out[i] = exp[i%Degree-BaseDegree]
		}
	}
	return out
}

// Label is the label of node in layer, from the labels of its 37 parents. Node
// 0 has no parents; they are ignored.
func Label(replicaID Node, layer int, node uint64, parents *[HashedParents]Node) Node {
	var msg [msgSize]byte
	putHeader(&msg, replicaID, layer, node)
	if node == 0 {
		return sum254(msg[:headerSize])
	}
	for i := range parents {
		copy(msg[headerSize+i*nodeSize:], parents[i][:])
	}
	return sum254(msg[:])
}

func putHeader(msg *[msgSize]byte, replicaID Node, layer int, node uint64) {
	copy(msg[:nodeSize], replicaID[:])
	binary.BigEndian.PutUint32(msg[32:36], uint32(layer))
	binary.BigEndian.PutUint64(msg[36:44], node)
}

func sum254(msg []byte) Node {
	h := sha256.Sum256(msg)
	h[31] &= 0x3f
	return h
}
