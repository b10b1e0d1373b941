package circuit

import (
	"crypto/sha256"
	"fmt"
	"math/bits"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/merkle"
	"quarry/proofs/porep"
	"quarry/proofs/update"
)

// Kind is one of the four statements.
type Kind int

// The kinds of circuits.
const (
	KindPoRep Kind = iota
	KindWinning
	KindWindow
	KindUpdate
)

// String names k in messages.
func (k Kind) String() string {
	switch k {
	case KindPoRep:
		return "PoRep"
	case KindWinning:
		return "winning PoSt"
	case KindWindow:
		return "window PoSt"
	case KindUpdate:
		return "update"
	}
	return fmt.Sprintf("circuit kind %d", int(k))
}

// postShape is what fixes a PoSt circuit (filecoin-proofs src/constants.rs).
type postShape struct {
	shape      merkle.Shape
	sectors    int // in one circuit
	challenges int // of one sector
}

const (
	winningSectors   = 66 // the 66 openings of the sector, each taken for a sector of its own
	windowChallenges = 10
	// Sectors in one window partition: as many as fit a domain of 2^27.
	windowSectors32GiB = 2349
	windowSectors64GiB = 2300
	windowSectorsSmall = 2
)

func winningShape(s merkle.Shape) postShape {
	return postShape{shape: s, sectors: winningSectors, challenges: 1}
}

func windowShape(s merkle.Shape) postShape {
	p := postShape{shape: s, sectors: windowSectorsSmall, challenges: windowChallenges}
	switch s.Nodes {
	case 1 << 30:
		p.sectors = windowSectors32GiB
	case 1 << 31:
		p.sectors = windowSectors64GiB
	}
	return p
}

// postShapeOf is the shape of p, which must be of kind want.
func postShapeOf(p abi.RegisteredPoStProof, want Kind) (postShape, error) {
	kind := KindWindow
	if p <= abi.RegisteredPoStProof_StackedDrgWinning64GiBV1 {
		kind = KindWinning
	}
	size, err := p.SectorSize()
	if err != nil || kind != want {
		return postShape{}, fmt.Errorf("circuit: %d is no proof type of %s", p, want)
	}
	s, err := merkle.ShapeOf(uint64(size) / merkle.NodeSize)
	if err != nil {
		return postShape{}, fmt.Errorf("circuit: PoSt proof %d: %w", p, err)
	}
	if kind == KindWinning {
		return winningShape(s), nil
	}
	return windowShape(s), nil
}

// version of all parameter files (storage-proofs-core src/parameter_cache.rs).
const version = "v28"

// treeName is the name of the Poseidon trees: arities of base, sub and top.
func treeName(s merkle.Shape) string {
	return fmt.Sprintf("merkletree-poseidon_hasher-%d-%d-%d", merkle.BaseArity, s.Sub, s.Top)
}

// name puts a file name together from what the reference calls the prefix and
// the identifier of public parameters.
func name(prefix, identifier string) string {
	return fmt.Sprintf("%s-%s-%x", version, prefix, sha256.Sum256([]byte(identifier)))
}

// PoRepName is the name of the parameters of a seal proof's circuit, without
// extension. Proofs that differ in how challenges are drawn share theirs.
func PoRepName(p abi.RegisteredSealProof) (string, error) {
	d, err := porep.DimensionsOf(p)
	if err != nil {
		return "", fmt.Errorf("circuit: %w", err)
	}
	t := treeName(d.Shape)
	return name("stacked-proof-of-replication-"+t+"-sha256_hasher", fmt.Sprintf(
		"layered_drgporep::PublicParams{ graph: stacked_graph::StackedGraph{expansion_degree: 8 base_graph: "+
			"drgraph::BucketGraph{size: %d; degree: 6; hasher: poseidon_hasher} }, "+
			"challenges: LayerChallenges { layers: %d, max_count: %d }, tree: %s }",
		d.Shape.Nodes, d.Layers, d.Challenges, t)), nil
}

// WinningName is the name of the parameters of a winning PoSt, without
// extension.
func WinningName(p abi.RegisteredPoStProof) (string, error) { return postName(p, KindWinning) }

// WindowName is the name of the parameters of a window PoSt, without extension.
// Both versions of a size share theirs.
func WindowName(p abi.RegisteredPoStProof) (string, error) { return postName(p, KindWindow) }

func postName(p abi.RegisteredPoStProof, k Kind) (string, error) {
	s, err := postShapeOf(p, k)
	if err != nil {
		return "", err
	}
	return name("proof-of-spacetime-fallback-"+treeName(s.shape), fmt.Sprintf(
		"FallbackPoSt::PublicParams{sector_size: %d, challenge_count: %d, sector_count: %d}",
		s.shape.Nodes*merkle.NodeSize, s.challenges, s.sectors)), nil
}

// UpdateName is the name of the parameters of an update proof's circuit, without
// extension.
func UpdateName(p abi.RegisteredUpdateProof) (string, error) {
	d, err := update.DimensionsOf(p)
	if err != nil {
		return "", fmt.Errorf("circuit: %w", err)
	}
	return name("empty-sector-update-"+treeName(d.Shape), fmt.Sprintf(
		"empty_sector_update::PublicParams{ sector_nodes: %d }", d.Shape.Nodes)), nil
}

func log2(n int) int { return bits.Len(uint(n)) - 1 } // sizes are positive
