package kerneltest

import (
	"crypto/sha256"
	"math/big"
	"sync"
)

// poseidon is the reference: the permutation as it is defined, with whole numbers
// and none of the optimizations. Strength standard, S-box x^5, eight full rounds.
type poseidon struct {
	width, partial int
	round          []*big.Int
	mds            [][]*big.Int
}

var partialRounds = map[int]int{2: 55, 4: 56, 8: 57, 11: 57, 16: 59, 24: 59, 36: 60}

var hashers sync.Map // arity -> func() *poseidon

func hasher(arity int) *poseidon {
	f, _ := hashers.LoadOrStore(arity, sync.OnceValue(func() *poseidon { return newPoseidon(arity) }))
	return f.(func() *poseidon)()
}

const fullRounds = 8

func newPoseidon(arity int) *poseidon {
	p := &poseidon{width: arity + 1, partial: partialRounds[arity]}
	for i := range p.width {
		row := make([]*big.Int, p.width)
		for j := range row {
			row[j] = new(big.Int).ModInverse(big.NewInt(int64(i+j+p.width)), order)
		}
		p.mds = append(p.mds, row)
	}
	p.constants()
	return p
}

// constants draws the round constants from the Grain register.
func (p *poseidon) constants() {
	var state []byte
	for _, field := range [][2]int{{1, 2}, {1, 4}, {255, 12}, {p.width, 12}, {fullRounds, 10}, {p.partial, 10}, {1<<30 - 1, 30}} {
		for b := field[1] - 1; b >= 0; b-- {
			state = append(state, byte(field[0]>>b&1))
		}
	}
	step := func() byte {
		n := len(state) - 80
		s := state[n:]
		state = append(state, s[62]^s[51]^s[38]^s[23]^s[13]^s[0])
		return state[len(state)-1]
	}
	for range 160 {
		step()
	}
	for len(p.round) < (fullRounds+p.partial)*p.width {
		v := new(big.Int)
		for range 255 {
			for step() == 0 {
				step()
			}
			v.Lsh(v, 1).Or(v, big.NewInt(int64(step())))
		}
		if v.Cmp(order) < 0 {
			p.round = append(p.round, v)
		}
	}
}

// hash is the digest of width-1 numbers with the tag of Merkle trees.
func (p *poseidon) hash(in []*big.Int) *big.Int {
	tag := new(big.Int).Lsh(big.NewInt(1), uint(len(in)))
	state := append([]*big.Int{tag.Sub(tag, big.NewInt(1))}, in...)
	five := big.NewInt(5)
	for r := range fullRounds + p.partial {
		for i := range state {
			state[i] = new(big.Int).Add(state[i], p.round[r*p.width+i])
			if full := r < fullRounds/2 || r >= fullRounds/2+p.partial; full || i == 0 {
				state[i].Exp(state[i], five, order)
			}
		}
		next := make([]*big.Int, p.width)
		for j := range next {
			next[j] = new(big.Int)
			for i := range state {
				next[j].Add(next[j], new(big.Int).Mul(state[i], p.mds[i][j]))
			}
			next[j].Mod(next[j], order)
		}
		state = next
	}
	return state[1]
}

// hashAll hashes group after group.
func (p *poseidon) hashAll(in []*big.Int) []*big.Int {
	var out []*big.Int
	for arity := p.width - 1; len(in) > 0; in = in[arity:] {
		out = append(out, p.hash(in[:arity]))
	}
	return out
}

// hashPair is the parent of two nodes of a SHA-256 tree.
func hashPair(pair []byte) []byte {
	sum := sha256.Sum256(pair)
	sum[31] &= 0x3f
	return sum[:]
}
