// Package listen is the listener that every process of ours opens: it bounds
// connections, requests and websockets in all and per address, and how long a
// peer may be waited for.
//
// The limits are of two kinds. Counts: whoever comes when a share is full gets
// in if somebody of the greediest address is only being waited for (a silent
// connection, an idle one, a reader that does not read); that one gives way, the
// longest waited for first. Times: waiting for the peer is bounded, work is not.
// A body may take hours and an answer too, but in every Stall of waiting MinBytes
// must move. So a transfer of 32 GiB and a call that waits for half a minute are
// fine, and a body that is announced and never comes, or comes byte by byte, is
// cut.
//
// It refuses to look into what is served: no tokens, no paths, no RPC.
package listen
