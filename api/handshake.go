package api

import "time"

// Identity is what a process says of itself to another process of the same
// miner. Nothing in it is a secret: each holder of a token may ask for it.
type Identity struct {
	Miner    string // f0 address; empty on a worker
	Network  string // its name as the full node has it; empty while that was never asked
	Genesis  string // CID of the genesis block; empty like Network
	Kind     string // of the repo: "miner", "markets", "worker"
	Repo     UUID   // the same in copies of one repo, and for ever
	Instance UUID   // new at each start
	Libp2p   string `json:",omitempty"` // peer ID of its host; empty where none runs

	// APIVersions has an entry per subsystem that runs in the process, packed as
	// in [VersionInfo].
	APIVersions map[Subsystem]uint32
}

// Introduction is what the caller of Handshake says of itself. Host, PID and
// Place are shown to people; Place also tells a restart from a copy.
type Introduction struct {
	Identity
	Host    string    // name of the machine
	PID     int       // of the process
	Place   string    // digest of machine, boot and repo directory
	Started time.Time // of the process
}

// Handshake answers an Introduction.
type Handshake struct {
	Identity
	Allow []Permission // what the token may do that it was asked with
}

// HeaderInstance is the HTTP header that pins a call to one start of the peer:
// a process with another Instance refuses it, with 412, before it is looked at.
const HeaderInstance = "Quarry-Instance"
