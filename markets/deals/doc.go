// Package deals takes storage deal proposals and carries them out.
//
// A proposal passes the acceptance checks in Boost's order and with its texts
// (filecoin-project/boost storagemarket/deal_acceptance.go), is written down, and
// is then executed checkpoint by checkpoint: transfer and commitment, publishing,
// hand-off to sealing, indexing, and watching until it is active on chain. Each
// checkpoint is durable before the next step starts, and each step asks whether
// its effect already happened, so a process may be killed anywhere.
//
// The package opens no listener, signs nothing and never invents funds: chain,
// sealing, publishing and the piece index are interfaces given by the caller.
// Contract clients, offline imports and libp2p transfers are refused as not
// built yet.
package deals
