package election

import (
	"math/big"

	"github.com/filecoin-project/go-state-types/abi"
	"golang.org/x/crypto/blake2b"
)

// BlocksPerEpoch is the expected number of winning tickets of an epoch, over
// all miners (lotus build/buildconstants/params_shared_vals.go).
const BlocksPerEpoch = 5

// MaxWins caps the win count of one miner (lotus chain/types/electionproof.go).
const MaxWins = 3 * BlocksPerEpoch

// fraction is the number of binary digits after the point in all fixed-point
// numbers here.
const fraction = 256

// e^-x as a quotient of two polynomials with coefficients in 1/2^128, highest
// order first; the error stays below 4.6e-15 for x in [0, 5). The published
// constants: lotus chain/types/electionproof.go.
var (
	expNum = coefficients(
		"-648770010757830093818553637600",
		"67469480939593786226847644286976",
		"-3197587544499098424029388939001856",
		"89244641121992890118377641805348864",
		"-1579656163641440567800982336819953664",
		"17685496037279256458459817590917169152",
		"-115682590513835356866803355398940131328",
		"340282366920938463463374607431768211456",
	)
	expDen = coefficients(
		"1225524182432722209606361",
		"114095592300906098243859450",
		"5665570424063336070530214243",
		"194450132448609991765137938448",
		"5068267641632683791026134915072",
		"104716890604972796896895427629056",
		"1748338658439454459487681798864896",
		"23704654329841312470660182937960448",
		"259380097567996910282699886670381056",
		"2250336698853390384720606936038375424",
		"14978272436876548034486263159246028800",
		"72144088983913131323343765784380833792",
		"224599776407103106596571252037123047424",
		"340282366920938463463374607431768211456",
	)
)

func coefficients(decimal ...string) []*big.Int {
	out := make([]*big.Int, len(decimal))
	for i, d := range decimal {
		c, ok := new(big.Int).SetString(d, 10)
		if !ok {
			panic("election: malformed constant " + d)
		}
		out[i] = c.Lsh(c, fraction-128)
	}
	return out
}

// WinCount tells how many times a miner with the given quality adjusted power
// won, from 0 to MaxWins: the number of k for which the hash of the election
// VRF, as a fraction, lies below 1 - CDF(k) of the Poisson distribution with
// rate power*BlocksPerEpoch/total. Without power nothing is won.
func WinCount(vrfProof []byte, power, total abi.StoragePower) int64 {
	if power.Int == nil || total.Int == nil || power.Sign() <= 0 || total.Sign() <= 0 {
		return 0
	}
	h := blake2b.Sum256(vrfProof)
	draw := new(big.Int).SetBytes(h[:])
	rate := new(big.Int).Mul(power.Int, big.NewInt(BlocksPerEpoch))
	rate.Div(rate.Lsh(rate, fraction), total.Int)

	pmf := expNeg(rate)
	rest := new(big.Int).Lsh(big.NewInt(1), fraction)
	rest.Sub(rest, pmf)
	var wins int64
	for wins < MaxWins && draw.Cmp(rest) < 0 {
		wins++
		// pmf(k) = pmf(k-1) * rate / k, dividing first as everybody does.
		pmf.Div(pmf, big.NewInt(wins))
		pmf.Rsh(pmf.Mul(pmf, rate), fraction)
		rest.Sub(rest, pmf)
	}
	return wins
}

func expNeg(x *big.Int) *big.Int {
	num := horner(expNum, x)
	return num.Div(num.Lsh(num, fraction), horner(expDen, x))
}

func horner(p []*big.Int, x *big.Int) *big.Int {
	res := new(big.Int).Set(p[0])
	for _, c := range p[1:] {
		res.Rsh(res.Mul(res, x), fraction)
		res.Add(res, c)
	}
	return res
}
