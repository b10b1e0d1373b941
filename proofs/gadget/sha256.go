package gadget

// Constants of SHA-256 (FIPS 180-4, 4.2.2 and 5.3.3).
var roundConstants = [64]uint32{
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}

var initialState = [8]uint32{
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
}

var roundWords = func() (w [64]word) {
	for i := range w {
		w[i] = constWord(roundConstants[i])
	}
	return w
}()

// SHA256 is the digest of a message of whole bytes, most significant bit first
// on both sides (bellpepper gadgets sha256).
func (b *Builder) SHA256(message []Bit) (out [256]Bit) {
	if len(message)%8 != 0 {
		panic("gadget: SHA-256 of an incomplete byte")
	}
	m := append(append(b.message[:0], message...), Const(true))
	for (len(m)+64)%512 != 0 {
		m = append(m, Const(false))
	}
	for i := 63; i >= 0; i-- {
		m = append(m, Const(uint64(len(message))>>i&1 == 1)) // a length is not negative
	}
	b.message = m
	var state [8]word
	for i := range state {
		state[i] = constWord(initialState[i])
	}
	for ; len(m) > 0; m = m[512:] {
		b.compress(&state, m[:512])
	}
	for i := range out {
		out[i] = state[i/32][31-i%32]
	}
	return out
}

// compress takes one block in. The words a and e of a round are kept as lists of
// summands until the next round wants them.
func (b *Builder) compress(state *[8]word, block []Bit) {
	m := &b.sum
	w := b.expand(block)
	v := *state
	var t1 [5]word
	var d, s0, maj word
	for i := range 64 {
		// Pending from the round before: e = t1 + d, a = t1 + s0 + maj.
		if i > 0 {
			v[4] = m.addMany(&t1[0], &t1[1], &t1[2], &t1[3], &t1[4], &d)
		}
		s1 := b.xor3(v[4].rotr(6), v[4].rotr(11), v[4].rotr(25))
		ch := b.chWord(&v[4], &v[5], &v[6])
		next := [5]word{v[7], s1, ch, roundWords[i], w[i]}
		if i > 0 {
			v[0] = m.addMany(&t1[0], &t1[1], &t1[2], &t1[3], &t1[4], &s0, &maj)
		}
		s0 = b.xor3(v[0].rotr(2), v[0].rotr(13), v[0].rotr(22))
		maj = b.majWord(&v[0], &v[1], &v[2])
		t1, d = next, v[3]
		v[7], v[6], v[5] = v[6], v[5], v[4]
		v[3], v[2], v[1] = v[2], v[1], v[0]
	}
	// v[1..3] and v[5..7] are b, c, d and f, g, h now.
	var out [8]word
	out[0] = m.addMany(&t1[0], &t1[1], &t1[2], &t1[3], &t1[4], &s0, &maj, &state[0])
	for i := 1; i < 4; i++ {
		out[i] = m.addMany(&state[i], &v[i])
	}
	out[4] = m.addMany(&t1[0], &t1[1], &t1[2], &t1[3], &t1[4], &d, &state[4])
	for i := 5; i < 8; i++ {
		out[i] = m.addMany(&state[i], &v[i])
	}
	m.flush()
	*state = out
}

// expand is the message schedule of one block.
func (b *Builder) expand(block []Bit) *[64]word {
	w := new([64]word)
	for i := range 16 {
		for j := range 32 {
			w[i][31-j] = block[i*32+j]
		}
	}
	for i := 16; i < 64; i++ {
		s0 := b.xor3(w[i-15].rotr(7), w[i-15].rotr(18), w[i-15].shr(3))
		s1 := b.xor3(w[i-2].rotr(17), w[i-2].rotr(19), w[i-2].shr(10))
		w[i] = b.sum.addMany(&w[i-16], &s0, &w[i-7], &s1)
	}
	return w
}

// HashData is a node of tree-d from its children: SHA-256 with the two top bits
// dropped.
func (b *Builder) HashData(left, right Num) Num {
	l, r := ReverseBytes(b.Bits(left)), ReverseBytes(b.Bits(right))
	out := b.SHA256(append(l, r...))
	return b.Pack(ReverseBytes(out[:]))
}
