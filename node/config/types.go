package config

// Config is the whole file, one field per section.
type Config struct {
	API        API
	Subsystems Subsystems
	Libp2p     Libp2p
	Dealmaking Dealmaking
	Sealing    Sealing
	Storage    Storage
	Proving    Proving
	Fees       Fees
	Addresses  Addresses
}

// API is the JSON-RPC and byte listener of this process.
type API struct {
	// ListenAddress is where the API is bound: a multiaddr or host:port.
	ListenAddress string
	// RemoteListenAddress is the host:port, or the http(s) URL of a proxy, under
	// which other hosts reach this API, for sector files and staged pieces. Empty:
	// as bound.
	RemoteListenAddress string
	// MaxRequestBytes bounds one JSON-RPC request, bytes.
	MaxRequestBytes int64
	// MaxConnections is how many connections are open at once. When all are, the
	// one that was waited for longest gives way, of the address that has most.
	MaxConnections uint64
	// MaxConnectionsPerAddress is how many of them one address has: an IPv4 address
	// or an IPv6 /64. Behind a proxy everybody has the proxy's.
	MaxConnectionsPerAddress uint64
	// MaxWebsockets is how many of them are websockets.
	MaxWebsockets uint64
	// MaxWebsocketsPerAddress is how many of these one address has.
	MaxWebsocketsPerAddress uint64
}

// Subsystems says which parts run in this process and where the others are.
type Subsystems struct {
	// EnableMining runs block production and proving.
	EnableMining bool
	// EnableSealing runs the sealing pipeline.
	EnableSealing bool
	// EnableSectorStorage runs the sector index, the scheduler and the store.
	EnableSectorStorage bool
	// EnableMarkets runs deal making and retrieval.
	EnableMarkets bool
	// SealerApiInfo is token:address of the process that seals; needed when
	// EnableSealing is false.
	SealerApiInfo string
	// SectorIndexApiInfo is token:address of the process with the sector index;
	// needed when EnableSectorStorage is false. Usually the same process.
	SectorIndexApiInfo string
}

// Libp2p is the public host of a process with markets.
type Libp2p struct {
	// ListenAddresses are multiaddrs. Clients find the port on the chain: port 0, which
	// picks another at each start, is for tests.
	ListenAddresses []string
	// AnnounceAddresses, when not empty, are told to others instead of the bound
	// ones.
	AnnounceAddresses []string
	// MaxConnections is how many connections of peers are open at once.
	MaxConnections uint64
	// MaxConnectionsPerAddress is how many of them one IPv4 address or IPv6 /64 has;
	// this host itself may have all.
	MaxConnectionsPerAddress uint64
	// MaxConnectionsPerPeer is how many of them one peer has.
	MaxConnectionsPerPeer uint64
	// MaxStreams is how many streams are open at once, of all protocols.
	MaxStreams uint64
	// MaxStreamsPerPeer is how many of them one peer has.
	MaxStreamsPerPeer uint64
	// MaxMemoryBytes bounds the buffers of all connections.
	MaxMemoryBytes uint64
	// MaxRequests is how many deal and ask requests are answered at once. When all
	// are taken the oldest that only waits for its peer gives way.
	MaxRequests uint64
	// MaxRequestsPerAddress is how many of them one IPv4 address or IPv6 /64 has.
	MaxRequestsPerAddress uint64
	// MaxRequestsPerPeer is how many of them one peer has.
	MaxRequestsPerPeer uint64
}

// Dealmaking is the storage and retrieval market.
type Dealmaking struct {
	// ConsiderOnlineStorageDeals accepts deals whose data is transferred.
	ConsiderOnlineStorageDeals bool
	// ConsiderVerifiedStorageDeals accepts deals of verified clients.
	ConsiderVerifiedStorageDeals bool
	// ConsiderUnverifiedStorageDeals accepts deals of other clients.
	ConsiderUnverifiedStorageDeals bool
	// PieceCidBlocklist rejects deals for these piece CIDs.
	PieceCidBlocklist []string
	// ExpectedSealDuration is how long sealing takes: a deal must start later than
	// now plus this. A duration of chain time or a number of epochs.
	ExpectedSealDuration Epochs
	// MaxDealStartDelay is how far ahead a deal may start. A duration of chain time
	// or a number of epochs.
	MaxDealStartDelay Epochs
	// PublishMsgPeriod is how long the first deal of a publish message waits for
	// others. A duration of chain time or a number of epochs.
	PublishMsgPeriod Epochs
	// MaxDealsPerPublishMsg is the most deals in one publish message.
	MaxDealsPerPublishMsg uint64
	// MaxProviderCollateralMultiplier times the network's minimum is the most
	// collateral put up for a deal.
	MaxProviderCollateralMultiplier uint64
	// MaxStagingDealsBytes bounds the disk used by deals that are not active on
	// chain yet, the new deal included; 0 for as much as the disk has.
	MaxStagingDealsBytes uint64
	// SimultaneousTransfersForStorage is how many pieces are received at once.
	SimultaneousTransfersForStorage uint64
	// SimultaneousTransfersForRetrieval is how many retrievals are served at once.
	SimultaneousTransfersForRetrieval uint64
	// StartEpochSealingBuffer is how long before a deal's start its sector begins
	// sealing at the latest, and deals nearer to their start are not published.
	StartEpochSealingBuffer Epochs
	// AllowPrivateIPs lets clients name transfer URLs in loopback and private
	// networks. Leave it off in public: it lets strangers reach your network.
	AllowPrivateIPs bool
	// RetrievalListenAddress is host:port of the public HTTP retrieval server;
	// empty for none.
	RetrievalListenAddress string
	// MaxRetrievalsPerAddress is how many retrievals one IPv4 address or IPv6 /64
	// has at once.
	MaxRetrievalsPerAddress uint64
	// MaxRetrievalConnections is how many connections the retrieval server keeps
	// open.
	MaxRetrievalConnections uint64
	// MaxRetrievalConnectionsPerAddress is how many of them one address has.
	MaxRetrievalConnectionsPerAddress uint64
	// UnsealOnRetrieval lets a retrieval start an unseal when no readable copy
	// exists.
	UnsealOnRetrieval bool
}

// Sealing is the sector pipeline.
type Sealing struct {
	// MaxWaitDealsSectors is how many sectors may wait for deals; 0 for no limit.
	MaxWaitDealsSectors uint64
	// MaxSealingSectors is how many sectors may be sealing; 0 for no limit.
	MaxSealingSectors uint64
	// CommittedCapacitySectorLifetime is the life of sectors without deals, 180 to
	// 1278 days of chain time or a number of epochs.
	CommittedCapacitySectorLifetime Epochs
	// WaitDealsDelay is how long a sector waits for more deals after its first. A
	// duration of chain time or a number of epochs.
	WaitDealsDelay Epochs
	// AlwaysKeepUnsealedCopy keeps the readable copy of deal sectors, whatever the
	// deal asks for.
	AlwaysKeepUnsealedCopy bool
	// MakeCCSectorsAvailable marks every new sector without deals for taking deals
	// later, as `sectors snap-up` does for one.
	MakeCCSectorsAvailable bool
	// UseSyntheticPoRep seals new sectors with synthetic PoRep (FIP-0059): the proofs
	// of all challenges there can be are made right after the trees, so that the
	// layers go before the seed is drawn. For 32 GiB: 11 GB wait instead of 400.
	UseSyntheticPoRep bool
	// BatchPreCommits sends the pre-commitments of several sectors in one message.
	BatchPreCommits bool
	// MaxPreCommitBatch is the most pre-commitments in one message, 1 to 256.
	MaxPreCommitBatch uint64
	// PreCommitBatchWait is how long a sector waits for others to be pre-committed
	// with. A duration of chain time or a number of epochs.
	PreCommitBatchWait Epochs
	// MaxCommitBatch is the most proofs in one message, 1 to 256; with 1 every sector
	// sends its own. They are not aggregated.
	MaxCommitBatch uint64
	// CommitBatchWait is how long a sector waits for others to be proven with. A
	// duration of chain time or a number of epochs.
	CommitBatchWait Epochs
}

// Storage is the sector store and the worker built into the process.
type Storage struct {
	// LocalWorker runs tasks in this process. Without it miner-worker processes
	// must do them.
	LocalWorker bool
	// AllowAddPiece lets the local worker write pieces into sectors.
	AllowAddPiece bool
	// AllowPreCommit1 lets the local worker compute layers.
	AllowPreCommit1 bool
	// AllowPreCommit2 lets the local worker build trees.
	AllowPreCommit2 bool
	// AllowCommit lets the local worker make commit proofs, vanilla and Groth16.
	AllowCommit bool
	// AllowUnseal lets the local worker unseal.
	AllowUnseal bool
	// AllowReplicaUpdate lets the local worker put data into empty sealed sectors
	// and make the vanilla proof of it.
	AllowReplicaUpdate bool
	// AllowProveReplicaUpdate2 lets the local worker make the Groth16 proof of it.
	AllowProveReplicaUpdate2 bool
	// ParentCacheDir is where the local worker keeps parent cache files, 60 GB for
	// 32 GiB sectors, made once. Empty: parents are computed for every sector.
	ParentCacheDir string
}

// Proving is window PoSt and block production.
type Proving struct {
	// Form is the form of the proofs sent on chain: "groth16", which every network
	// takes and which needs parameter files; "vanilla", which only an embedded
	// devnet takes; "auto" for vanilla where the network takes it, else groth16.
	Form string
	// ParameterDir holds the Groth16 parameter files. Empty:
	// $FIL_PROOFS_PARAMETER_CACHE, else quarry/proof-parameters in the user's cache.
	ParameterDir string
	// ParallelCheckLimit is how many sectors are read at once for proofs on each
	// storage path; 0 for 8. See docs/proving.md.
	ParallelCheckLimit uint64
	// DisableBuiltinWindowPoSt leaves window PoSt to somebody else. Your sectors
	// become faulty when nobody does it.
	DisableBuiltinWindowPoSt bool
	// DisableBuiltinWinningPoSt leaves block production to somebody else.
	DisableBuiltinWinningPoSt bool
	// MaxPartitionsPerPoStMessage bounds the partitions of one message; 0 for the
	// network's limit.
	MaxPartitionsPerPoStMessage uint64
}

// Fees bound what one message may pay for gas, the dearer ones included that
// replace it when it is stuck; 0 leaves it to the full node. A new value counts
// for messages on their way too.
type Fees struct {
	// MaxPreCommitGasFee is for the pre-commitment of one sector.
	MaxPreCommitGasFee FIL
	// MaxCommitGasFee is for the proof or the replica update of one sector.
	MaxCommitGasFee FIL
	// MaxWindowPoStGasFee is for SubmitWindowedPoSt and recovery messages. Too low
	// a limit costs power when the base fee rises.
	MaxWindowPoStGasFee FIL
	// MaxPublishDealsFee is for PublishStorageDeals messages.
	MaxPublishDealsFee FIL
	// MaxMarketBalanceAddFee is for AddBalance messages, which add collateral for
	// deals to the escrow.
	MaxMarketBalanceAddFee FIL
	// MaxPreCommitBatchGasFee is for the pre-commitments of several sectors.
	MaxPreCommitBatchGasFee BatchFee
	// MaxCommitBatchGasFee is for the proofs of several sectors.
	MaxCommitBatchGasFee BatchFee
}

// BatchFee bounds the gas of a message of several sectors: Base, and PerSector
// for each of them.
type BatchFee struct {
	// Base is the part that does not depend on how many sectors there are.
	Base FIL
	// PerSector is added for every sector in the message.
	PerSector FIL
}

// Addresses says which wallets pay for messages.
type Addresses struct {
	// DealPublishControl sends publish messages: the first is used. Empty: the
	// worker address.
	DealPublishControl []string
}
