package devnet

import (
	"math/big"

	"github.com/filecoin-project/go-state-types/abi"
	"golang.org/x/crypto/blake2b"
)

// Expected consensus constants (lotus build/buildconstants).
const (
	expectedLeaders = 5
	maxWinCount     = 3 * expectedLeaders
	precision       = 256
)

// Coefficients of the rational approximation of e^-x, in 2^-128 units, highest
// order first (lotus chain/types/electionproof.go).
var (
	expNum = coefficients(
		"-648770010757830093818553637600", "67469480939593786226847644286976",
		"-3197587544499098424029388939001856", "89244641121992890118377641805348864",
		"-1579656163641440567800982336819953664", "17685496037279256458459817590917169152",
		"-115682590513835356866803355398940131328", "340282366920938463463374607431768211456")
	expDen = coefficients(
		"1225524182432722209606361", "114095592300906098243859450", "5665570424063336070530214243",
		"194450132448609991765137938448", "5068267641632683791026134915072", "104716890604972796896895427629056",
		"1748338658439454459487681798864896", "23704654329841312470660182937960448",
		"259380097567996910282699886670381056", "2250336698853390384720606936038375424",
		"14978272436876548034486263159246028800", "72144088983913131323343765784380833792",
		"224599776407103106596571252037123047424", "340282366920938463463374607431768211456")
)

func coefficients(in ...string) []*big.Int {
	out := make([]*big.Int, len(in))
	for i, s := range in {
		c, ok := new(big.Int).SetString(s, 10)
		if !ok {
			panic("devnet: bad coefficient " + s)
		}
		out[i] = c.Lsh(c, precision-128)
	}
	return out
}

func polyval(p []*big.Int, x *big.Int) *big.Int {
	res := new(big.Int).Set(p[0])
	for _, c := range p[1:] {
		res = new(big.Int).Mul(res, x)
		res.Rsh(res, precision)
		res.Add(res, c)
	}
	return res
}

// expneg is e^-x for x in Q.256.
func expneg(x *big.Int) *big.Int {
	num := polyval(expNum, x)
	return num.Lsh(num, precision).Div(num, polyval(expDen, x))
}

// winCount is how often a VRF output wins with a share of the power: the
// inverse Poisson distribution with rate 5*power/total, at most 15.
func winCount(vrf []byte, power, total abi.StoragePower) int64 {
	if power.Int == nil || total.Int == nil || power.Sign() <= 0 || total.Sign() <= 0 {
		return 0
	}
	h := blake2b.Sum256(vrf)
	lhs := new(big.Int).SetBytes(h[:])
	lam := new(big.Int).Mul(power.Int, big.NewInt(expectedLeaders))
	lam.Lsh(lam, precision).Div(lam, total.Int)
	pmf := expneg(lam)
	rhs := new(big.Int).Lsh(big.NewInt(1), precision)
	rhs.Sub(rhs, pmf)
	var j int64
	for lhs.Cmp(rhs) < 0 && j < maxWinCount {
		j++
		pmf.Div(pmf, big.NewInt(j))
		pmf = new(big.Int).Mul(pmf, lam)
		pmf.Rsh(pmf, precision)
		rhs.Sub(rhs, pmf)
	}
	return j
}
