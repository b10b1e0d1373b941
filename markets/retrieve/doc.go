// Package retrieve serves what the provider stores: the IPFS trustless gateway
// at /ipfs/{cid} (raw blocks and CARs, verified by the client; specs.ipfs.tech
// http-gateways/trustless-gateway) and whole pieces with ranges at
// /piece/{pieceCid}.
//
// It never renders content, never fetches from the network and answers no other
// route. Every block is hashed before it is sent, so a payload whose CAR lies
// cannot make the provider lie.
package retrieve
