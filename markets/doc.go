// Package markets is the public half of a storage provider: it makes storage
// deals over libp2p and serves retrievals over HTTP.
//
// It joins the rooms below it (wire, net, transfer, deals, publish, pieces,
// retrieve) and implements api.Markets and api.Net. It reaches sealing, sector
// files and the chain only through the interfaces declared here. It opens no
// HTTP listener: its handlers are mounted by the node that runs it.
package markets
