package porep

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/merkle"
	"quarry/proofs/sdr"
)

// feature is how challenges are drawn.
type feature int

const (
	interactive feature = iota
	synthetic
	nonInteractive
)

// params is everything that a registered seal proof fixes (rust-fil-proofs
// filecoin-proofs/src/constants.rs, rust-filecoin-proofs-api src/registry.rs).
type params struct {
	porepID      [32]byte
	legacy       bool // api version 1.0 graphs
	feature      feature
	nodes        uint64
	layers       int
	shape        merkle.Shape
	partitions   int
	perPartition int
	synthTotal   uint64 // challenges that synthetic PoRep selects from
}

// firstFeatureProof is the lowest registered seal proof of each family of five.
const (
	firstV1_1      = 5
	firstSynthetic = 10
	firstNI        = 15
	endProofs      = 20
)

func paramsFor(p abi.RegisteredSealProof) (params, error) {
	if p < 0 || p >= endProofs {
		return params{}, fmt.Errorf("porep: seal proof %d is not known", p)
	}
	size, err := p.SectorSize()
	if err != nil {
		return params{}, fmt.Errorf("porep: seal proof %d: %w", p, err)
	}
	f := interactive
	switch {
	case p >= firstNI:
		f = nonInteractive
	case p >= firstSynthetic:
		f = synthetic
	}
	return newParams(uint64(p), uint64(size)/merkle.NodeSize, p < firstV1_1, f)
}

func newParams(id, nodes uint64, legacy bool, f feature) (params, error) {
	shape, err := merkle.ShapeOf(nodes)
	if err != nil {
		return params{}, err
	}
	p := params{
		legacy:       legacy,
		feature:      f,
		nodes:        nodes,
		shape:        shape,
		layers:       2,
		partitions:   1,
		perPartition: 2,
		synthTotal:   min(nodes, maxSynthetic),
	}
	binary.LittleEndian.PutUint64(p.porepID[:], id)
	large := nodes >= 1<<30
	switch {
	case large && f == nonInteractive:
		p.layers, p.partitions, p.perPartition = 11, 126, 18
	case large:
		p.layers, p.partitions, p.perPartition = 11, 10, 18
	case f == nonInteractive:
		p.partitions = 13
	}
	return p, nil
}

func (p *params) size() int64 { return int64(p.nodes) * merkle.NodeSize }

func (p *params) graph() (*sdr.Graph, error) { return sdr.NewGraph(p.porepID, p.nodes, p.legacy) }

// Names of the files in a sector's cache directory (storage-proofs-core
// src/cache_key.rs).
const (
	treeDName  = "sc-02-data-tree-d.dat"
	treeC      = "tree-c"
	treeRLast  = "tree-r-last"
	pAuxName   = "p_aux"
	tAuxName   = "t_aux"
	filePrefix = "sc-02-data-"
)

func layerName(layer int) string { return filePrefix + "layer-" + strconv.Itoa(layer) + ".dat" }

// treeNames are the files of tree kind (treeC or treeRLast): one, or one
// per base tree, numbered from 0.
func treeNames(s merkle.Shape, kind string) []string {
	if s.Bases() == 1 {
		return []string{filePrefix + kind + ".dat"}
	}
	names := make([]string, s.Bases())
	for i := range names {
		names[i] = filePrefix + kind + "-" + strconv.Itoa(i) + ".dat"
	}
	return names
}
