package node

import "quarry/chain/msgs"

// What each kind of message may cost, with the names of the keys that say so.

func (f FeeLimits) preCommits() msgs.Config {
	return msgs.Config{
		MaxFee:     f.PreCommit,
		Limit:      "Fees.MaxPreCommitGasFee",
		BatchFee:   f.PreCommitBatch,
		BatchLimit: "Fees.MaxPreCommitBatchGasFee",
	}
}

func (f FeeLimits) commits() msgs.Config {
	return msgs.Config{
		MaxFee:     f.Commit,
		Limit:      "Fees.MaxCommitGasFee",
		BatchFee:   f.CommitBatch,
		BatchLimit: "Fees.MaxCommitBatchGasFee",
	}
}

func (f FeeLimits) posts() msgs.Config {
	return msgs.Config{MaxFee: f.WindowPoSt, Limit: "Fees.MaxWindowPoStGasFee"}
}

func (f FeeLimits) publishes() msgs.Config {
	return msgs.Config{MaxFee: f.Publish, Limit: "Fees.MaxPublishDealsFee"}
}

func (f FeeLimits) escrows() msgs.Config {
	return msgs.Config{MaxFee: f.Escrow, Limit: "Fees.MaxMarketBalanceAddFee"}
}
