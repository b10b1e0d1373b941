package gadget

// Pick is x where cond is set and y elsewhere: (y - x) * cond = y - r.
func (b *Builder) Pick(cond Bit, x, y Num) Num {
	v := y.Value
	if cond.val {
		v = x.Value
	}
	r := b.Num(v)
	b.a = append(b.a[:0], term(y.Var), negTerm(x.Var))
	b.b = appendBit(b.b[:0], cond, 0)
	b.c = append(b.c[:0], term(y.Var), negTerm(r.Var))
	b.cs.Enforce(b.a, b.b, b.c)
	return r
}

// Insert puts a among the others at the position that the bits say, least
// significant first; there are one more children than others, a power of two up
// to eight (rust-fil-proofs storage-proofs-core/src/gadgets/insertion.rs).
func (b *Builder) Insert(a Num, bits []Bit, others []Num) []Num {
	switch {
	case len(bits) == 1 && len(others) == 1:
		return b.insert2(a, bits[0], others[0])
	case len(bits) == 2 && len(others) == 3:
		return b.insert4(a, bits, others)
	case len(bits) == 3 && len(others) == 7:
		return b.insert8(a, bits, others)
	}
	panic("gadget: insertion among a number of siblings that no tree has")
}

func (b *Builder) insert2(a Num, bit Bit, e Num) []Num {
	first := b.Pick(bit, e, a)
	return []Num{first, b.Pick(bit, a, e)}
}

func (b *Builder) insert4(a Num, bits []Bit, e []Num) []Num {
	p := make([]Num, 4)
	p[0] = b.Pick(bits[1], e[0], b.Pick(bits[0], e[0], a))
	p[1] = b.Pick(bits[1], e[1], b.Pick(bits[0], a, e[0]))
	p[2] = b.Pick(bits[1], b.Pick(bits[0], e[2], a), e[1])
	p[3] = b.Pick(bits[1], b.Pick(bits[0], a, e[2]), e[2])
	return p
}

func (b *Builder) insert8(a Num, bits []Bit, e []Num) []Num {
	b0, b1, b2 := bits[0], bits[1], bits[2]
	nor := b.And(b0.Not(), b1.Not())
	and := b.And(b0, b1)
	p := make([]Num, 8)
	p[0] = b.Pick(b2, e[0], b.Pick(nor, a, e[0]))
	p[1] = b.Pick(b2, e[1], b.Pick(b1, e[1], b.Pick(b0, a, e[0])))
	x := b.Pick(b0, e[2], a)
	p[2] = b.Pick(b2, e[2], b.Pick(b1, x, e[1]))
	p[3] = b.Pick(b2, e[3], b.Pick(and, a, e[2]))
	p[4] = b.Pick(b2, b.Pick(nor, a, e[4]), e[3])
	x = b.Pick(b0, a, e[4])
	p[5] = b.Pick(b2, b.Pick(b1, e[5], x), e[4])
	x = b.Pick(b0, e[6], a)
	p[6] = b.Pick(b2, b.Pick(b1, x, e[5]), e[5])
	p[7] = b.Pick(b2, b.Pick(and, a, e[6]), e[6])
	return p
}

// Select is the leaf whose number the bits are, least significant first: a
// binary tree of picks with its widest row first, decided by the top bit
// (storage-proofs-update/src/gadgets.rs, get_challenge_high_bits and apex leaf).
func (b *Builder) Select(leaves []Num, bits []Bit) Num {
	row := append([]Num(nil), leaves...)
	for i := len(bits) - 1; i >= 0; i-- {
		half := len(row) / 2
		for j := range half {
			row[j] = b.Pick(bits[i], row[half+j], row[j])
		}
		row = row[:half]
	}
	return row[0]
}
