package poseidon

import "github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

// room is how many elements a permutation works on: the state and the results
// of one batch of partial rounds.
const room = maxWidth + maxBatch

// permute runs p on the turned state in v[:width] and returns the digest. Both
// v and w have at least width+maxBatch elements of room.
func permute(p *program[fr.Element], v, w []fr.Element) fr.Element {
	const half = fullRounds / 2
	t, k := p.width, p.add
	for i := range t {
		v[i].Add(&v[i], &k[i])
	}
	k = k[t:]
	for r := range half {
		m := p.mds
		if r == half-1 {
			m = p.pre
		}
		fullRound(v, w, k[:t], m)
		k, v, w = k[t:], w, v
	}
	k = runPartial(p, v, k)
	for range half - 1 {
		fullRound(v, w, k[:t], p.mds)
		k, v, w = k[t:], w, v
	}
	for i := range t {
		fifth(&v[i])
	}
	var out fr.Element
	dot(&out, v[:t], p.last)
	return out
}

func fullRound(v, w, k, m []fr.Element) {
	t := len(k)
	for i := range t {
		fifth(&v[i])
		v[i].Add(&v[i], &k[i])
	}
	for j := range t {
		dot(&w[j], v[:t], m[j*t:])
	}
}

// runPartial works off all partial rounds and returns what is left of k.
func runPartial(p *program[fr.Element], v, k []fr.Element) []fr.Element {
	last, m := p.width-1, p.partial
	for _, n := range p.batches {
		for i := range n {
			x := &v[last+i]
			fifth(x)
			x.Add(x, &k[i])
			dot(&v[last+i+1], v[:last+i+1], m)
			m = m[last+i+1:]
		}
		next := v[last+n]
		for i := range last {
			var sum fr.Element
			dot(&sum, v[last:last+n], m)
			v[i].Add(&v[i], &sum)
			m = m[n:]
		}
		v[last] = next
		k = k[n:]
	}
	return k
}

// fifth is the S-box.
func fifth(x *fr.Element) {
	var y fr.Element
	y.Square(x)
	y.Square(&y)
	x.Mul(x, &y)
}
