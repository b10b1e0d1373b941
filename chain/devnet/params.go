package devnet

import (
	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
)

// Params are the facts of one network, fixed when it is made.
type Params struct {
	NetworkName string
	Timestamp   uint64 // of genesis, seconds
	Vested      abi.TokenAmount
	Genesis     cid.Cid // of the genesis block
	BeaconKey   []byte
	Miner       address.Address // genesis miner
	Worker      address.Address
	Faucet      address.Address
	SealProof   abi.RegisteredSealProof
	Sectors     []GenesisSector
}

// GenesisSector is a sector of the genesis miner.
type GenesisSector struct {
	Number    abi.SectorNumber
	SealedCID cid.Cid
}
