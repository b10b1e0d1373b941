package gas

import (
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/network"
)

// Prices is one schedule (ref-fvm fvm/src/gas/price_list.rs). Fields that
// never differ between the supported versions are constants below.
type Prices struct {
	linkTracked   Milli // per reachable link recorded
	linkChecked   Milli // per link checked
	scanPerField  Milli
	scanPerLink   Milli
	externPerCall Milli // randomness in older versions
	seal          Milli
	lookback      bool // randomness priced by lookback
}

const (
	milliPerByteCopy  = 400  // copying, also instance memory
	milliPerByteAlloc = 2000 // allocation of a block
)

// Constant charges, in milligas.
const (
	Syscall         Milli = 14_000_000
	ValueTransfer   Milli = 6_000_000
	Invocation      Milli = 75_000_000
	ActorLookup     Milli = 500_000_000
	ActorUpdate     Milli = 475_000_000
	CreateActor     Milli = 650_000_000
	AssignAddress   Milli = 2_050_000_000 // assignment and lookup of a new address
	CommD           Milli = 98_647_000
	ReplicaUpdate   Milli = 36_316_136_000
	ConsensusFault  Milli = 516_422_000
	RecoverSecp     Milli = 1_637_292_000
	Instruction     Milli = 4_000
	MemoryPage      Milli = 65536 * milliPerByteCopy
	blockOpen       Milli = 187_440_000
	persistCompute  Milli = 172_000_000
	persistFlat     Milli = 334_000_000
	persistPerByte  Milli = 3_340_000
	retainPerByte   Milli = 10_000
	blake2bPerByte  Milli = 10_000
	inclusionBase   Milli = (38_863 + 36*1300) * 1000
	storagePerByte  Milli = 1_300_000
	onChainOverhead Milli = 475_000_000 // update of the sender actor
)

// ForVersion returns the schedule of a network version: 18, for the published
// message vectors, and 25 to 29, which share one.
func ForVersion(nv network.Version) (*Prices, error) {
	switch {
	case nv == 18:
		return &Prices{externPerCall: Gas(21_000), seal: Gas(2_000)}, nil
	case nv >= 25 && nv <= 29:
		return &Prices{
			linkTracked:  Gas(300),
			linkChecked:  Gas(300),
			scanPerField: Gas(35),
			scanPerLink:  Gas(400),
			seal:         Gas(42_000_000),
			lookback:     true,
		}, nil
	}
	return nil, fmt.Errorf("no gas schedule for network version %d: use 25 to 29", nv)
}

// Inclusion is charged for carrying a message of n bytes on chain.
func Inclusion(n int) Milli { return inclusionBase + onChainOverhead + storagePerByte*Milli(n) }

// ChainReturn is charged for the return value of a top-level message.
func (p *Prices) ChainReturn(size, links int) Milli {
	return storagePerByte*Milli(size) + p.Return(links)
}

// Return is charged for links in any return value.
func (p *Prices) Return(links int) Milli { return p.linkTracked * Milli(links) }

// Params is charged for invoking a method with params of so many links.
func (p *Prices) Params(links int) Milli { return Invocation + p.linkTracked*Milli(links) }

// Copy is charged for copying n bytes.
func Copy(n int) Milli { return milliPerByteCopy * Milli(n) }

// Instantiate is charged for the minimum memory of a module, in pages, and of
// its exported table, in elements of 8 bytes.
func Instantiate(pages, elements uint32) Milli {
	return MemoryPage*Milli(pages) + 8*milliPerByteCopy*Milli(elements)
}

// Scan is charged for finding the links of a block.
func (p *Prices) Scan(fields, links int) Milli {
	return p.scanPerField*Milli(fields) + p.scanPerLink*Milli(links)
}

// BlockOpenBase is charged before a block is loaded.
func (p *Prices) BlockOpenBase() Milli { return blockOpen + p.linkChecked }

// Block is charged for holding a block that was loaded or created.
func (p *Prices) Block(size, links int) Milli {
	n := Milli(size)
	return max(retainPerByte*n, p.linkTracked*Milli(links)+(milliPerByteCopy+milliPerByteAlloc)*n)
}

// BlockLink is charged for storing a block.
func (p *Prices) BlockLink(size int) Milli {
	n := Milli(size)
	return (milliPerByteCopy+milliPerByteAlloc+blake2bPerByte+persistPerByte)*n +
		p.linkTracked + persistCompute + persistFlat
}

// Root is charged for reading or replacing the state root of an actor.
func (p *Prices) Root() Milli { return p.linkTracked }

// Randomness is charged for a lookback of so many epochs; entropy is the
// number of bytes mixed in by the host in older versions.
func (p *Prices) Randomness(lookback int64, entropy int) Milli {
	if !p.lookback {
		return p.externPerCall + blake2bPerByte*Milli(48+entropy)
	}
	return add(Gas(146_200), mul(Gas(75), max(lookback, 0)))
}

// hashPerByte lists the supported hashes by multihash code.
var hashPerByte = map[uint64]Milli{0x12: 7_000, 0xb220: 10_000, 0xb240: 10_000, 0x1b: 33_000, 0x1053: 35_000}

// Hash is charged for hashing n bytes; false for an unknown code.
func Hash(code uint64, n int) (Milli, bool) {
	p, ok := hashPerByte[code]
	return p * Milli(n), ok
}

// SecpVerify is charged for a secp256k1 check over n bytes.
func SecpVerify(n int) Milli { return Gas(1_637_292 + 10*int64(n)) }

// BLSVerify is charged for a BLS check over n bytes.
func BLSVerify(n int) Milli { return Gas(16_598_605 + 26*int64(n)) }

// Seals is charged for a batch of n seal checks.
func (p *Prices) Seals(n int) Milli { return p.seal * Milli(n) }

// WindowPoSt is charged for n challenged sectors; all proof sizes cost alike.
func WindowPoSt(n int) Milli { return Gas(117_680_921 + 43_780*int64(n)) }

// Event is charged for an event of n entries.
func Event(n, keyBytes, valueBytes int) Milli {
	size := Milli(12 + 9*n + keyBytes + valueBytes)
	mem := (milliPerByteCopy + milliPerByteAlloc) * size
	return 3*mem + Gas(2000+1400*int64(n)) + Gas(500+16*int64(keyBytes)) + blake2bPerByte*size
}

type step struct {
	from int
	gas  int64
}

type aggregatePrice struct {
	per   int64
	steps []step
}

var (
	aggregate32 = aggregatePrice{449_900, []step{{4, 103_994_170}, {7, 112_356_810}, {13, 122_912_610},
		{26, 137_559_930}, {52, 162_039_100}, {103, 210_960_780}, {205, 318_351_180}, {410, 528_274_980}}}
	aggregate64 = aggregatePrice{359_272, []step{{4, 102_581_240}, {7, 110_803_030}, {13, 120_803_700},
		{26, 134_642_130}, {52, 157_357_890}, {103, 203_017_690}, {205, 304_253_590}, {410, 509_880_640}}}
	aggregateNI32 = aggregatePrice{44_990 * 126, []step{{1, 112_356_810}, {2, 122_912_610}, {3, 137_559_930},
		{5, 162_039_100}, {9, 210_960_780}, {17, 318_351_180}, {33, 528_274_980}}}
	aggregateNI64 = aggregatePrice{35_928 * 126, []step{{1, 110_803_030}, {2, 120_803_700}, {3, 134_642_130},
		{5, 157_357_890}, {9, 203_017_690}, {17, 304_253_590}, {33, 509_880_640}}}
)

// Aggregate is charged for an aggregate of n seal proofs. Types without a row
// of their own, the small test sizes among them, cost as 32 GiB ones do.
func Aggregate(t abi.RegisteredSealProof, n int) Milli {
	p := aggregate32
	switch t {
	case abi.RegisteredSealProof_StackedDrg64GiBV1_1:
		p = aggregate64
	case abi.RegisteredSealProof_StackedDrg32GiBV1_2_Feat_NiPoRep:
		p = aggregateNI32
	case abi.RegisteredSealProof_StackedDrg64GiBV1_2_Feat_NiPoRep:
		p = aggregateNI64
	}
	var base int64
	for _, s := range p.steps {
		if s.from > n {
			break
		}
		base = s.gas
	}
	return Gas(p.per*int64(n) + base)
}
