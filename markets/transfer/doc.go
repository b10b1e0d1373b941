// Package transfer pulls the payload of a deal over HTTP(S) into a file.
//
// A client names the URL, so the package trusts nothing: it dials no loopback,
// private or link-local address unless told to, follows at most two redirects,
// never writes more than the agreed size, and gives up on a server that stalls.
// It resumes from what is on disk. It does not verify content; the commitment is
// checked by the caller. libp2p URLs are refused as not built yet.
package transfer
