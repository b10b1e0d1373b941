package config

// Default is the configuration of a process with every subsystem, with Lotus's
// values (lotus node/config/def.go v1.17.2) where the key is Lotus's.
func Default() Config {
	return Config{
		API: API{
			ListenAddress:            "/ip4/127.0.0.1/tcp/2345/http",
			MaxRequestBytes:          10 << 20,
			MaxConnections:           1024,
			MaxConnectionsPerAddress: 512,
			MaxWebsockets:            512,
			MaxWebsocketsPerAddress:  256,
		},
		Subsystems: Subsystems{
			EnableMining: true, EnableSealing: true, EnableSectorStorage: true, EnableMarkets: true,
		},
		Libp2p: Libp2p{
			ListenAddresses:          []string{"/ip4/0.0.0.0/tcp/24001", "/ip6/::/tcp/24001"},
			AnnounceAddresses:        []string{},
			MaxConnections:           512,
			MaxConnectionsPerAddress: 16,
			MaxConnectionsPerPeer:    8,
			MaxStreams:               4096,
			MaxStreamsPerPeer:        128,
			MaxMemoryBytes:           256 << 20,
			MaxRequests:              128,
			MaxRequestsPerAddress:    64,
			MaxRequestsPerPeer:       16,
		},
		Dealmaking: Dealmaking{
			ConsiderOnlineStorageDeals:        true,
			ConsiderVerifiedStorageDeals:      true,
			ConsiderUnverifiedStorageDeals:    true,
			PieceCidBlocklist:                 []string{},
			ExpectedSealDuration:              2880,      // 24h
			MaxDealStartDelay:                 14 * 2880, // 336h
			PublishMsgPeriod:                  120,       // 1h
			MaxDealsPerPublishMsg:             8,
			MaxProviderCollateralMultiplier:   2,
			SimultaneousTransfersForStorage:   20,
			SimultaneousTransfersForRetrieval: 256,
			MaxRetrievalsPerAddress:           128,
			MaxRetrievalConnections:           1024,
			MaxRetrievalConnectionsPerAddress: 512,
			StartEpochSealingBuffer:           480,
			UnsealOnRetrieval:                 true,
		},
		Sealing: Sealing{
			MaxWaitDealsSectors:             2,
			CommittedCapacitySectorLifetime: 540 * 2880,
			WaitDealsDelay:                  720, // 6h
			AlwaysKeepUnsealedCopy:          true,
			BatchPreCommits:                 true,
			MaxPreCommitBatch:               32,
			PreCommitBatchWait:              10, // 5 min, not Lotus's day: a sector alone is hardly delayed
			MaxCommitBatch:                  16, // proofs of 32 GiB sectors that fit into one message
			CommitBatchWait:                 10,
		},
		Storage: Storage{
			LocalWorker:              true,
			AllowAddPiece:            true,
			AllowPreCommit1:          true,
			AllowPreCommit2:          true,
			AllowCommit:              true,
			AllowUnseal:              true,
			AllowReplicaUpdate:       true,
			AllowProveReplicaUpdate2: true,
		},
		Proving: Proving{Form: FormAuto},
		Fees: Fees{
			MaxPreCommitGasFee:      mustFIL("0.025 FIL"),
			MaxCommitGasFee:         mustFIL("0.05 FIL"),
			MaxWindowPoStGasFee:     mustFIL("5 FIL"),
			MaxPublishDealsFee:      mustFIL("0.05 FIL"),
			MaxMarketBalanceAddFee:  mustFIL("0.007 FIL"),
			MaxPreCommitBatchGasFee: BatchFee{Base: mustFIL("0 FIL"), PerSector: mustFIL("0.02 FIL")},
			MaxCommitBatchGasFee:    BatchFee{Base: mustFIL("0 FIL"), PerSector: mustFIL("0.03 FIL")},
		},
		Addresses: Addresses{DealPublishControl: []string{}},
	}
}
