package snarkpack

import (
	"strconv"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// challenges is the chain of challenges as prover and verifier derive it.
type challenges struct {
	version Version
	r       fr.Element   // combines the proofs
	start   fr.Element   // V1 folds the first round with it, V2 hashes it
	c, cInv []fr.Element // one for each round
}

// commitmentChallenge binds A, B and C.
func (p *Proof) commitmentChallenge() fr.Element {
	return newTranscript("hcom").gt(p.comAB.t, p.comAB.u, p.comC.t, p.comC.u).challenge()
}

// combinationChallenge is the r whose powers combine the proofs.
func combinationChallenge(hcom fr.Element, include []byte) fr.Element {
	return newTranscript("random-r").scalar(hcom).bytes(include).challenge()
}

func startChallenges(v Version, hcom, r fr.Element, p *Proof) *challenges {
	start := newTranscript("gipa-0").scalar(hcom).gt(p.ipAB).g1(p.aggC).scalar(r).challenge()
	return &challenges{version: v, r: r, start: start}
}

// next appends the challenge of the coming round, whose cross terms are given.
func (ch *challenges) next(x *round) (c, cInv fr.Element) {
	i := len(ch.cInv)
	cInv = ch.start
	if i > 0 {
		cInv = ch.cInv[i-1]
	}
	if i > 0 || ch.version != V1 {
		t := newTranscript("gipa-" + strconv.Itoa(i)).scalar(cInv)
		cInv = x.write(t).challenge()
	}
	c.Inverse(&cInv)
	ch.c, ch.cInv = append(ch.c, c), append(ch.cInv, cInv)
	return c, cInv
}

// write appends the cross terms in the order the transcripts have.
func (x *round) write(t transcript) transcript {
	return t.gt(x.zabL, x.zabR).g1(x.zcL, x.zcR).
		gt(x.abL.t, x.abL.u, x.abR.t, x.abR.u, x.cL.t, x.cL.u, x.cR.t, x.cR.u)
}

// openingPoint is the z at which the folded keys are opened. It needs all rounds
// and the last values.
func (ch *challenges) openingPoint(p *Proof) fr.Element {
	last := ch.c[len(ch.c)-1]
	if ch.version == V1 {
		return newTranscript("random-z").scalar(last).g2(p.v[:]...).g1(p.w[:]...).challenge()
	}
	link := newTranscript("gipa-extra-link").scalar(last).g1(p.finalA).g2(p.finalB).g1(p.finalC)
	extra := p.round[len(p.round)-1].write(link).challenge()
	return newTranscript("random-z").scalar(extra).g2(p.v[:]...).g1(p.w[:]...).
		g1(p.finalA).g2(p.finalB).g1(p.finalC).challenge()
}
