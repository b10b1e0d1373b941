package genesis

import (
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/network"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/chain/fvm"
)

// Version is the network version that a devnet starts with and keeps.
const Version = network.Version28

// ChainID is the EIP-155 id of development networks (lotus
// build/buildconstants/params_2k.go).
const ChainID = 31415926

// MinerID is the actor id of the genesis miner (lotus MinerStart).
const MinerID abi.ActorID = 1000

// Account is a key address with a balance in attoFIL.
type Account struct {
	Key     address.Address
	Balance abi.TokenAmount
}

// Sector is a pre-sealed sector of zeros.
type Sector struct {
	Number    abi.SectorNumber
	SealedCID cid.Cid
}

// Config is everything the first block depends on.
type Config struct {
	NetworkName string
	Timestamp   uint64 // seconds since 1970
	// Seed gives the ticket of the genesis block.
	Seed [32]byte
	// Accounts get ids from f0100 in order. The first is also the owner of the
	// verified registry.
	Accounts []Account
	// Worker is the BLS key of the genesis miner; it must be one of Accounts.
	Worker    address.Address
	SealProof abi.RegisteredSealProof
	Sectors   []Sector
}

// Machines makes machines over a store; the engine does.
type Machines interface {
	NewMachine(ctx context.Context, cfg fvm.MachineConfig, deps fvm.Deps) (*fvm.Machine, error)
}

// Deps are the collaborators; all are needed.
type Deps struct {
	Engine   Machines
	Store    fvm.Blockstore
	Manifest cid.Cid // of the actors bundle whose blocks are in Store
}

// Genesis is the result: the block, and the state it starts from.
type Genesis struct {
	Header    *api.BlockHeader
	StateRoot cid.Cid
	// Vested is the constant part of the circulating supply: what the accounts
	// were given.
	Vested abi.TokenAmount
}

var (
	// total is the supply that the invariant checker of the actors expects.
	total       = fil(2_000_000_000)
	rewardPool  = fil(1_100_000_000)
	minerFunds  = fil(100)
	minDeposit  = fil(1)
	initialBase = big.NewInt(100_000_000)
)

func fil(n int64) abi.TokenAmount { return big.Mul(big.NewInt(n), big.NewInt(1e18)) }

func (c *Config) check() error {
	if c.NetworkName == "" || len(c.Accounts) == 0 {
		return errors.New("genesis: a network name and at least one account are needed")
	}
	if c.Worker.Protocol() != address.BLS {
		return fmt.Errorf("genesis: worker %s is not a BLS key address", c.Worker)
	}
	sum := big.Add(rewardPool, minerFunds)
	found := false
	for _, a := range c.Accounts {
		if a.Balance.Int == nil || a.Balance.Sign() < 0 {
			return fmt.Errorf("genesis: balance of %s is not set", a.Key)
		}
		sum = big.Add(sum, a.Balance)
		found = found || a.Key == c.Worker
	}
	if !found {
		return fmt.Errorf("genesis: worker %s is not among the accounts", c.Worker)
	}
	if sum.GreaterThan(total) {
		return fmt.Errorf("genesis: balances add up to %s attoFIL, more than the supply of %s", sum, total)
	}
	if len(c.Sectors) == 0 {
		return errors.New("genesis: at least one pre-sealed sector is needed to make blocks")
	}
	return nil
}
