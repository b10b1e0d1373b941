package kerneltest

import (
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"slices"
	"sync"
)

//go:embed testdata/golden.json
var goldenJSON []byte

// bytesOf are bytes written in hexadecimal.
type bytesOf []byte

func (b *bytesOf) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

// node is a field element in 32 bytes, the lowest first.
func (b bytesOf) node() *big.Int {
	c := slices.Clone(b)
	slices.Reverse(c)
	return new(big.Int).SetBytes(c)
}

// nodes are consecutive nodes.
func (b bytesOf) nodes() []*big.Int {
	var out []*big.Int
	for part := range slices.Chunk(b, 32) {
		out = append(out, part.node())
	}
	return out
}

// big is a number whose highest byte comes first.
func (b bytesOf) big() *big.Int { return new(big.Int).SetBytes(b) }

func bigs(bs []bytesOf) []*big.Int {
	out := make([]*big.Int, len(bs))
	for i := range bs {
		out[i] = bs[i].big()
	}
	return out
}

type golden struct {
	Sector struct {
		PorepID   bytesOf `json:"porep_id_hex"`
		ReplicaID bytesOf `json:"replica_id"`
		Layer1    bytesOf `json:"layer1_hex"`
		Layer2    bytesOf `json:"layer2_hex"`
		Data      bytesOf `json:"staged_hex"`
		Sealed    bytesOf `json:"sealed_hex"`
		CommC     bytesOf `json:"comm_c"`
		CommD     bytesOf `json:"comm_d"`
		CommRLast bytesOf `json:"comm_r_last"`
	} `json:"sector"`
	Labels []struct {
		Nodes   uint64  `json:"nodes"`
		PorepID bytesOf `json:"porep_id"`
		Legacy  bool    `json:"legacy"`
		Last    bytesOf `json:"last_label"`
	} `json:"labels"`
	Poseidon map[int]bytesOf `json:"poseidon"` // of 0, 1, …, arity-1
	Node     struct {
		In  []bytesOf `json:"in"`
		Out bytesOf   `json:"out"`
	} `json:"poseidon_node"`
	Sums struct {
		Logs    []bytesOf `json:"logs"` // of the points to the generators
		Scalars []bytesOf `json:"scalars"`
		G1      []bytesOf `json:"g1"` // x, y
		G2      []bytesOf `json:"g2"` // x, y, the part without u first
	} `json:"sums"`
	Transform struct {
		Shift        int64     `json:"shift"`
		Values       []bytesOf `json:"values"`
		Extended     []bytesOf `json:"extended"`
		Interpolated []bytesOf `json:"interpolated"`
	} `json:"transform"`
}

var vectors = sync.OnceValue(func() *golden {
	g := new(golden)
	if err := json.Unmarshal(goldenJSON, g); err != nil {
		panic("kerneltest: the golden vectors cannot be read: " + err.Error())
	}
	return g
})
