package kerneltest

import (
	"math/big"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
)

// prime is the order of the field of coordinates.
var prime = number("1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab")

// coord is a + b·u with u² = -1; in G1 b is zero.
type coord struct{ a, b *big.Int }

func reduce(a, b *big.Int) coord { return coord{a.Mod(a, prime), b.Mod(b, prime)} }

func (x coord) add(y coord) coord {
	return reduce(new(big.Int).Add(x.a, y.a), new(big.Int).Add(x.b, y.b))
}

func (x coord) sub(y coord) coord {
	return reduce(new(big.Int).Sub(x.a, y.a), new(big.Int).Sub(x.b, y.b))
}

func (x coord) mul(y coord) coord {
	re, im := new(big.Int).Mul(x.a, y.a), new(big.Int).Mul(x.a, y.b)
	re.Sub(re, new(big.Int).Mul(x.b, y.b))
	im.Add(im, new(big.Int).Mul(x.b, y.a))
	return reduce(re, im)
}

func (x coord) inverse() coord {
	norm := new(big.Int).Mul(x.a, x.a)
	norm.Add(norm, new(big.Int).Mul(x.b, x.b))
	norm.ModInverse(norm, prime)
	return reduce(new(big.Int).Mul(x.a, norm), new(big.Int).Neg(new(big.Int).Mul(x.b, norm)))
}

func (x coord) equal(y coord) bool { return x.a.Cmp(y.a) == 0 && x.b.Cmp(y.b) == 0 }

// spot is a point of either curve; nil is infinity.
type spot struct{ x, y coord }

func (p *spot) add(q *spot) *spot {
	if p == nil {
		return q
	}
	if q == nil {
		return p
	}
	var slope coord
	switch {
	case !p.x.equal(q.x):
		slope = q.y.sub(p.y).mul(q.x.sub(p.x).inverse())
	case p.y.equal(q.y): // no point of odd order has y = 0
		square := p.x.mul(p.x)
		slope = square.add(square).add(square).mul(p.y.add(p.y).inverse())
	default:
		return nil
	}
	x := slope.mul(slope).sub(p.x).sub(q.x)
	return &spot{x, slope.mul(p.x.sub(x)).sub(p.y)}
}

func (p *spot) times(k *big.Int) *spot {
	var sum *spot
	for i := k.BitLen() - 1; i >= 0; i-- {
		sum = sum.add(sum)
		if k.Bit(i) == 1 {
			sum = sum.add(p)
		}
	}
	return sum
}

func (p *spot) equal(q *spot) bool {
	if p == nil || q == nil {
		return p == q
	}
	return p.x.equal(q.x) && p.y.equal(q.y)
}

// The generators of both groups.
var (
	generator1 = &spot{
		coord{number("17f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"), new(big.Int)},
		coord{number("08b3f481e3aaa0f1a09e30ed741d8ae4fcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1"), new(big.Int)},
	}
	generator2 = &spot{
		coord{
			number("024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"),
			number("13e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"),
		},
		coord{
			number("0ce5d527727d6e118cc9cdc6da2e351aadfd9baa8cbdd3a76d429a695160d12c923ac9cc3baca289e193548608b82801"),
			number("0606c4a02ea734cc32acd2b02bc28b99cb3e287e85a763af267492ab572e99ab3f370d275cec1da1aaa9075ff05f79be"),
		},
	}
)

func coordOf(x *big.Int) fp.Element { return fp.Element(limbsOf(x, prime, 6)) }

// g1 is p as a backend takes it.
func (p *spot) g1() (out bls.G1Affine) {
	if p != nil {
		out.X, out.Y = coordOf(p.x.a), coordOf(p.y.a)
	}
	return out
}

func (p *spot) g2() (out bls.G2Affine) {
	if p != nil {
		out.X.A0, out.X.A1 = coordOf(p.x.a), coordOf(p.x.b)
		out.Y.A0, out.Y.A1 = coordOf(p.y.a), coordOf(p.y.b)
	}
	return out
}

// affine is the point (x/z², y/z³).
func affine(x, y, z coord) *spot {
	if z.a.Sign() == 0 && z.b.Sign() == 0 {
		return nil
	}
	z = z.inverse()
	square := z.mul(z)
	return &spot{x.mul(square), y.mul(square).mul(z)}
}

func fromG1(p *bls.G1Jac) (*spot, error) {
	return fromLimbs([6]fp.Element{p.X, {}, p.Y, {}, p.Z, {}})
}

func fromG2(p *bls.G2Jac) (*spot, error) {
	return fromLimbs([6]fp.Element{p.X.A0, p.X.A1, p.Y.A0, p.Y.A1, p.Z.A0, p.Z.A1})
}

func fromLimbs(es [6]fp.Element) (*spot, error) {
	var v [6]*big.Int
	for i, e := range es {
		var err error
		if v[i], err = valueOf(e[:], prime); err != nil {
			return nil, err
		}
	}
	return affine(coord{v[0], v[1]}, coord{v[2], v[3]}, coord{v[4], v[5]}), nil
}
