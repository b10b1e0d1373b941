// Package pull joins the two halves of a miner the other way round: the private
// node opens the link to the markets node, which then calls it over that link.
// The public host has no address and no token of the private one, and the private
// one listens to nobody.
//
//	private node                              markets node
//	Opener    ── websocket GET /link ───────► Acceptor     role link
//	Answer    ◄── JSON-RPC calls ──────────── Carry        as of role markets-peer
//	Pusher    ── PUT /push/{one-time id} ───► Range        payload of unsealed files
//	          ── GET /staged/{deal} ────────► markets      data of deals
//
// The frames are those of go-jsonrpc's reverse client, xrpc.cancel included. The
// two ends are our own, since that client waits for an answer after its context
// has ended, and the other end of it takes frames of any size.
//
// What the caller may do is decided on the private side, call by call, whatever
// the other side believes. Bytes go only to the host of the config, and never to a
// URL out of a message. Everything that comes from the other side has a limit:
// frames, calls at once, silence, the time a one-time place waits.
//
// The package refuses to know sectors, deals and chains, and keeps nothing on
// disk: a link that is lost is opened again, and calls are keyed and repeated by
// whoever made them, as after any lost connection.
package pull
