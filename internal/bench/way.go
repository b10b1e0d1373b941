package bench

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/porep"
)

// sectorSizes are the names of the sizes that have tree shapes.
var sectorSizes = []struct {
	name string
	size abi.SectorSize
}{
	{"2KiB", 2 << 10}, {"4KiB", 4 << 10}, {"16KiB", 16 << 10}, {"32KiB", 32 << 10},
	{"8MiB", 8 << 20}, {"16MiB", 16 << 20}, {"512MiB", 512 << 20}, {"1GiB", 1 << 30},
	{"32GiB", 32 << 30}, {"64GiB", 64 << 30},
}

// registered are the sizes that chains know, in the order of their proofs.
var registered = []string{"2KiB", "8MiB", "512MiB", "32GiB", "64GiB"}

// Families of registered seal proofs, five sizes each.
var families = []string{"V1", "V1_1", "V1_1_Feat_SyntheticPoRep", "V1_2_Feat_NiPoRep"}

// ParseSize reads a sector size such as 2KiB.
func ParseSize(s string) (abi.SectorSize, error) {
	var names []string
	for _, x := range sectorSizes {
		if strings.EqualFold(s, x.name) {
			return x.size, nil
		}
		names = append(names, x.name)
	}
	return 0, fmt.Errorf("no sectors have size %q; there are %s", s, strings.Join(names, ", "))
}

// SizeName is the inverse of ParseSize.
func SizeName(size abi.SectorSize) string {
	for _, x := range sectorSizes {
		if x.size == size {
			return x.name
		}
	}
	return fmt.Sprintf("%d bytes", size)
}

// SealProofName is the name of a registered seal proof in go-state-types.
func SealProofName(p abi.RegisteredSealProof) string {
	if p < 0 || int(p) >= len(families)*len(registered) {
		return fmt.Sprintf("seal proof %d", p)
	}
	return "StackedDrg" + registered[int(p)%len(registered)] + families[int(p)/len(registered)]
}

// ParseSealProof reads the name or number of a registered seal proof.
func ParseSealProof(s string) (abi.RegisteredSealProof, error) {
	count := len(families) * len(registered)
	if n, err := strconv.Atoi(s); err == nil && n >= 0 && n < count {
		return abi.RegisteredSealProof(n), nil
	}
	name := strings.TrimPrefix(s, "RegisteredSealProof_")
	for p := range abi.RegisteredSealProof(count) {
		if strings.EqualFold(name, SealProofName(p)) {
			return p, nil
		}
	}
	return 0, fmt.Errorf("no registered seal proof %q; there are the numbers 0 to %d and names such as %s", s, count-1, SealProofName(5))
}

// postProofs are the registered proofs of spacetime of sectors of a seal proof;
// window proofs are those of api version 1.1, the only ones still made.
func postProofs(p abi.RegisteredSealProof) (winning, window abi.RegisteredPoStProof, err error) {
	if winning, err = p.RegisteredWinningPoStProof(); err != nil {
		return 0, 0, err
	}
	if window, err = p.RegisteredWindowPoStProof(); err != nil {
		return 0, 0, err
	}
	window, err = window.ToV1_1PostProof()
	return winning, window, err
}

// SealProofOf is the registered seal proof of api version 1.1.0 without features
// for sectors of a size.
func SealProofOf(size abi.SectorSize) (abi.RegisteredSealProof, error) {
	i := slices.Index(registered, SizeName(size))
	if i < 0 {
		return 0, fmt.Errorf("no chain knows sectors of %s; those of %s have this kind of proof", SizeName(size),
			strings.Join(registered, ", "))
	}
	return abi.RegisteredSealProof(len(registered) + i), nil
}

// Features of the reference's names (rust-fil-proofs
// storage-proofs-core/src/api_version.rs).
const (
	FeatureSynthetic      = "synthetic-porep"
	FeatureNonInteractive = "non-interactive-porep"
)

// Way is a way of sealing as text, with empty strings for what is left open.
type Way struct {
	Proof      string // registered seal proof; excludes the following
	Size       string
	PorepID    string // 32 bytes as hex
	APIVersion string // 1.0.0, 1.1.0 or 1.2.0
	Features   []string
	ProverID   string // 32 bytes as hex
}

// Parse turns the texts into a way of sealing. Where no PoRep id is given, it is
// the one of the registered proof with these properties.
func (w Way) Parse() (c porep.Custom, err error) {
	if w.Proof != "" {
		if w.Size != "" || w.PorepID != "" || w.APIVersion != "" || len(w.Features) > 0 {
			return c, errors.New("a registered seal proof says size, PoRep id, api version and features; leave those out, or the proof")
		}
		p, err := ParseSealProof(w.Proof)
		if err != nil {
			return c, err
		}
		if c, err = porep.CustomOf(p, defaultMiner); err != nil {
			return c, err
		}
	} else if c, err = w.parseParts(); err != nil {
		return c, err
	}
	if w.ProverID != "" {
		if c.ProverID, err = Hex32("prover id", w.ProverID); err != nil {
			return c, err
		}
	}
	_, err = porep.Sector{Custom: &c}.Dimensions()
	return c, err
}

// defaultMiner is the actor whose prover id is used when none is given.
const defaultMiner = 1000

func (w Way) parseParts() (c porep.Custom, err error) {
	if w.Size == "" {
		return c, errors.New("which sectors? give a sector size or a registered seal proof")
	}
	size, err := ParseSize(w.Size)
	if err != nil {
		return c, err
	}
	family := 1
	for _, f := range w.Features {
		switch f {
		case FeatureSynthetic:
			family = 2
		case FeatureNonInteractive:
			family = 3
		default:
			return c, fmt.Errorf("no feature %q; there are %s and %s", f, FeatureSynthetic, FeatureNonInteractive)
		}
	}
	switch w.APIVersion {
	case "", "1.1.0", "1.2.0":
	case "1.0.0":
		if family > 1 {
			return c, errors.New("api version 1.0.0 has no features")
		}
		family = 0
	default:
		return c, fmt.Errorf("no api version %q; there are 1.0.0, 1.1.0 and 1.2.0", w.APIVersion)
	}
	if c, err = porep.CustomOf(abi.RegisteredSealProof(family*len(registered)+max(0, slices.Index(registered, SizeName(size)))),
		defaultMiner); err != nil {
		return c, err
	}
	c.Size = size
	c.Synthetic, c.NonInteractive = slices.Contains(w.Features, FeatureSynthetic), slices.Contains(w.Features, FeatureNonInteractive)
	if w.PorepID != "" {
		c.PorepID, err = Hex32("PoRep id", w.PorepID)
	}
	return c, err
}

// Hex32 reads 32 bytes of hex.
func Hex32(what, s string) (out [32]byte, err error) {
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil || len(b) != len(out) {
		return out, fmt.Errorf("%s %q is not 32 bytes of hex (64 digits)", what, s)
	}
	return [32]byte(b), nil
}

// registeredOf is the registered seal proof and miner that c equals, if any: only
// such sectors can be stated to others.
func registeredOf(c porep.Custom) (abi.RegisteredSealProof, abi.ActorID, bool) {
	miner, ok := minerOf(c.ProverID)
	if !ok {
		return 0, 0, false
	}
	for p := range abi.RegisteredSealProof(len(families) * len(registered)) {
		if want, err := porep.CustomOf(p, miner); err == nil && want == c {
			return p, miner, true
		}
	}
	return 0, 0, false
}

// minerOf reads the actor out of a prover id: an unsigned varint, then zeros.
func minerOf(prover [32]byte) (abi.ActorID, bool) {
	var id uint64
	for i, b := range prover[:9] {
		id |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			c, err := porep.CustomOf(0, abi.ActorID(id))
			return abi.ActorID(id), err == nil && c.ProverID == prover
		}
	}
	return 0, false
}
