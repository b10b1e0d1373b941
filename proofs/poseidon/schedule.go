package poseidon

import "slices"

// Schedule is the optimized form of one hash, for those who must follow its
// steps one by one, as circuits do. All of it is shared: do not change it.
//
// The state is the tag followed by the inputs. It starts with adding the first
// Width keys. Then come Full/2 full rounds (S-box on all, add Width keys,
// multiply by MDS, in the last of them by PreSparse), Partial rounds (S-box on
// element 0, add one key to it, multiply by the round's sparse matrix) and Full/2
// full rounds again, the very last without keys. The digest is element 1.
type Schedule struct {
	Width, Full, Partial int
	Tag                  Element
	Keys                 []Element   // in order of use
	MDS, PreSparse       [][]Element // the state is a row vector: state times matrix
	Sparse               []Sparse    // one for each partial round
}

// Sparse is a matrix that gives s'_0 = sum Col[k]*s_k and
// s'_k = s_k + s_0*Row[k-1].
type Sparse struct{ Col, Row []Element }

// Schedule is the schedule of h.
func (h *Hasher) Schedule() Schedule {
	s := Schedule{
		Width:     h.c.width,
		Full:      fullRounds,
		Partial:   h.c.partial,
		Tag:       h.tag,
		Keys:      slices.Clip(h.c.compressed),
		MDS:       h.c.mds,
		PreSparse: h.c.preSparse,
		Sparse:    make([]Sparse, len(h.c.sparse)),
	}
	for i, m := range h.c.sparse {
		s.Sparse[i] = Sparse{Col: m.col, Row: m.row}
	}
	return s
}
