package api

import (
	"context"
	"time"

	"github.com/ipfs/go-cid"
)

// VersionInfo is Lotus's APIVersion. APIVersion packs major<<16|minor<<8|patch.
type VersionInfo struct {
	Version    string
	APIVersion uint32
	BlockDelay uint64 // seconds
	Agent      string
}

// Subsystem is one of the four parts a miner process may run.
type Subsystem string

// The subsystems, in the words RuntimeSubsystems uses.
const (
	SubsystemMining        Subsystem = "Mining"
	SubsystemSealing       Subsystem = "Sealing"
	SubsystemSectorStorage Subsystem = "SectorStorage"
	SubsystemMarkets       Subsystem = "Markets"
)

// Role is a named set of permissions that a token may carry besides the four
// classic words.
type Role string

// Roles. Each holds just what that peer needs.
const (
	RoleMarketsPeer Role = "markets-peer" // public markets node -> private node
	RoleWorker      Role = "worker"       // sealing worker -> private node
)

// TokenRequest asks for a new token. Exactly one of Role and Perm is set; Perm
// is one of read, write, sign, admin and includes the weaker ones.
type TokenRequest struct {
	Name    string
	Role    Role
	Perm    Permission
	Expires time.Time // zero: never
}

// TokenInfo describes an issued token without the secret.
type TokenInfo struct {
	ID      string
	Name    string
	Role    Role         `json:",omitempty"`
	Allow   []Permission // everything the token may do
	Created time.Time
	Expires time.Time
	Revoked bool
}

// Common is served by every miner process and worker.
type Common interface {
	Version(ctx context.Context) (VersionInfo, error)                   //perm:peer
	Session(ctx context.Context) (UUID, error)                          //perm:peer
	RuntimeSubsystems(ctx context.Context) ([]Subsystem, error)         //perm:read
	AuthVerify(ctx context.Context, token string) ([]Permission, error) //perm:read
	AuthNew(ctx context.Context, perms []Permission) ([]byte, error)    //perm:admin
	AuthCreate(ctx context.Context, req TokenRequest) (string, error)   //perm:admin
	AuthList(ctx context.Context) ([]TokenInfo, error)                  //perm:admin
	AuthRevoke(ctx context.Context, id string) error                    //perm:admin
	LogList(ctx context.Context) ([]string, error)                      //perm:write
	LogSetLevel(ctx context.Context, system, level string) error        //perm:write
	Shutdown(ctx context.Context) error                                 //perm:admin
	NodeStatus(ctx context.Context) (NodeStatus, error)                 //perm:read
	Handshake(ctx context.Context, me Introduction) (Handshake, error)  //perm:peer
}

// NodeStatus is the operator's first look at a process.
type NodeStatus struct {
	Subsystems []Subsystem
	Miner      string // f0 address, empty on a worker
	Chain      PeerStatus
	Peers      []PeerStatus // the other halves of the split
	Parts      []PartStatus // what runs in the process, in the order of starting
	StartedAt  time.Time
	Messages   []MessageStatus `json:",omitempty"` // those that are stuck, by what they are for
	// Callers are processes that call this one, as the markets node calls the private
	// one: when they were heard of last.
	Callers []PeerStatus `json:",omitempty"`
	// Notices are what the operator should know or do.
	Notices []Notice `json:",omitempty"`
	// Address is the URL under which others reach this process.
	Address string `json:",omitempty"`
}

// Notice is something about a process that its operator should know.
type Notice struct {
	// Act says that it is the operator's turn: deals, retrievals or power are lost
	// until then.
	Act  bool
	Text string
	Do   string // what; empty where there is nothing to do
}

// MessageStatus is a message on its way to the chain that waits for something
// else than its turn.
type MessageStatus struct {
	Key    string // what it is for: a sector's or a deal batch's step
	Cid    cid.Cid
	From   string // address that pays
	Nonce  uint64
	Reason string // what it waits for and what to do
}

// PeerStatus says whether another process is reachable. One that is not the
// peer it should be is not: LastError says what differs.
type PeerStatus struct {
	Name      string // "full node", "sealing", "sector storage"
	Reachable bool
	Since     time.Time
	LastError string
	Version   string
	Warning   string `json:",omitempty"` // works, but should not stay so
}

// PartStatus says whether a part of a process works.
type PartStatus struct {
	Name     string
	Up       bool
	Since    time.Time // of Up
	Restarts int       // since the process started
	Error    string    `json:",omitempty"` // why it is not up, or ended last
	Next     time.Time `json:",omitzero"`  // when it is tried again; zero while it is up
}

// PeerInfo is libp2p's peer.AddrInfo in its JSON form.
type PeerInfo struct {
	ID    string
	Addrs []string
}

// Net is served by the process that runs the libp2p host.
type Net interface {
	ID(ctx context.Context) (string, error)               //perm:read
	NetAddrsListen(ctx context.Context) (PeerInfo, error) //perm:read
	NetPeers(ctx context.Context) ([]PeerInfo, error)     //perm:read
	NetConnect(ctx context.Context, p PeerInfo) error     //perm:write
}
