package genesis

import (
	"strings"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"
)

// The state itself is checked where it is used: chain/devnet holds the constant
// of a fixed seed.
func TestConfigRefusals(t *testing.T) {
	bls, err := address.NewBLSAddress(make([]byte, 48))
	if err != nil {
		t.Fatal(err)
	}
	id, err := address.NewIDAddress(5)
	if err != nil {
		t.Fatal(err)
	}
	good := func() Config {
		return Config{NetworkName: "n", Worker: bls, Accounts: []Account{{Key: bls, Balance: fil(1)}}, Sectors: []Sector{{}}}
	}
	c := good()
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Config){
		"network name":       func(c *Config) { c.NetworkName = "" },
		"not a BLS":          func(c *Config) { c.Worker = id },
		"balance":            func(c *Config) { c.Accounts[0].Balance = big.Int{} },
		"more than the":      func(c *Config) { c.Accounts[0].Balance = fil(1_000_000_000) },
		"not among":          func(c *Config) { c.Accounts[0].Key = id },
		"pre-sealed sector":  func(c *Config) { c.Sectors = nil },
		"at least one accou": func(c *Config) { c.Accounts = nil },
	} {
		c := good()
		spoil(&c)
		if err := c.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
