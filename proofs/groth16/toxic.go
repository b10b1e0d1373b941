package groth16

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"golang.org/x/crypto/blake2b"
)

// Toxic is the secret from which parameters are made. Who has it can prove
// anything under those parameters; parameters made by one party are therefore fit
// for a network in which nobody else has to believe its proofs, a devnet.
type Toxic struct{ Alpha, Beta, Gamma, Delta, Tau fr.Element }

// RandomToxic draws a secret from r.
func RandomToxic(r io.Reader) (*Toxic, error) {
	t := new(Toxic)
	for _, x := range t.all() {
		var err error
		if *x, err = randomScalar(r); err != nil {
			return nil, fmt.Errorf("groth16: drawing the secret of new parameters: %w", err)
		}
	}
	return t, nil
}

func (t *Toxic) all() []*fr.Element {
	return []*fr.Element{&t.Alpha, &t.Beta, &t.Gamma, &t.Delta, &t.Tau}
}

// usable refuses values that make parameters under which nothing is secret or
// nothing can be proven.
func (t *Toxic) usable() error {
	for i, x := range t.all() {
		if x.IsZero() {
			return fmt.Errorf("groth16: %s of the secret of new parameters is zero", []string{"alpha", "beta", "gamma", "delta", "tau"}[i])
		}
	}
	return nil
}

// shape is the size of a circuit.
type shape struct{ Inputs, Aux, Constraints uint64 } // inputs with ONE

// state is how far a generation is. It holds the secret.
type state struct {
	toxic  Toxic
	shape  shape
	done   int64              // bytes of the output that are written and synced
	digest [blake2b.Size]byte // BLAKE2b-512 of them
}

const stateMagic = "quarry groth16 generation, contains the secret\n"

const stateSize = len(stateMagic) + 5*fr.Bytes + 4*8 + blake2b.Size + blake2b.Size256

// errState says that saved state cannot be used.
var errState = errors.New("groth16: the saved state of the generation is damaged: remove it and the unfinished parameters and begin again")

func (s *state) encode() []byte {
	b := make([]byte, 0, stateSize)
	b = append(b, stateMagic...)
	for _, x := range s.toxic.all() {
		v := x.Bytes()
		b = append(b, v[:]...)
	}
	for _, n := range []uint64{s.shape.Inputs, s.shape.Aux, s.shape.Constraints, uint64(s.done)} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = append(b, s.digest[:]...)
	sum := blake2b.Sum256(b)
	return append(b, sum[:]...)
}

func decodeState(b []byte) (*state, error) {
	body := stateSize - blake2b.Size256
	if len(b) != stateSize || !bytes.HasPrefix(b, []byte(stateMagic)) {
		return nil, errState
	}
	if sum := blake2b.Sum256(b[:body]); !bytes.Equal(sum[:], b[body:]) {
		return nil, errState
	}
	s, b := new(state), b[len(stateMagic):]
	for _, x := range s.toxic.all() {
		if err := x.SetBytesCanonical(b[:fr.Bytes]); err != nil {
			return nil, errState
		}
		b = b[fr.Bytes:]
	}
	var n [4]uint64
	for i := range n {
		n[i], b = binary.BigEndian.Uint64(b), b[8:]
	}
	if s.shape, s.done = (shape{n[0], n[1], n[2]}), int64(n[3]); s.done < 0 { // more than 2^63 - 1
		return nil, errState
	}
	copy(s.digest[:], b)
	return s, nil
}
