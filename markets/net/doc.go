// Package net is the public libp2p side of the markets subsystem: the host, the
// handlers' limits, and the messages that publish the host's identity on chain.
//
// It knows streams and sizes, not deals. It refuses to listen on transports
// that were not asked for and never proxies, discovers or relays.
package net
