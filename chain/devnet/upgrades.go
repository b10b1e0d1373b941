package devnet

import "github.com/filecoin-project/go-state-types/abi"

// Heights of upgrades: before the first block, and never (lotus
// build/buildconstants).
const (
	fromGenesis = -1
	never       = 999_999_999_999_999
)

// upgradeNames are the upgrades that Lotus names in its network parameters, but
// the last, which is that to the version after this network's.
var upgradeNames = []string{
	"Smoke", "Breeze", "Ignition", "Liftoff", "Assembly", "Refuel", "Tape", "Kumquat", "Calico", "Persian", "Orange", "Claus", "Trust",
	"Norwegian", "Turbo", "Hyperdrive", "Chocolate", "OhSnap", "Skyr", "Shark", "Hygge", "Lightning", "Thunder", "Watermelon", "Dragon",
	"Phoenix", "Waffle", "Tuktuk", "Teep", "Tock", "GoldenWeek", "FireHorse",
}

// upgrades says that the network has had its version from the first block, and
// will have no other.
func upgrades() map[string]abi.ChainEpoch {
	out := map[string]abi.ChainEpoch{"BreezeGasTampingDuration": 0, "UpgradeXxHeight": never}
	for _, name := range upgradeNames {
		out["Upgrade"+name+"Height"] = fromGenesis
	}
	return out
}
