// Package transfer pulls the payload of a deal over HTTP(S) into a file.
//
// A client names the URL, so the package trusts nothing: it dials no address
// outside the public internet unless told to, and the metadata services of clouds
// never; follows at most two redirects, never writes more than the agreed size,
// and gives up on a server that gets no further. How it resumes, waits and judges
// answers is package httpx. It does not verify content: the commitment is checked
// by the caller, who calls Restart when it is wrong. libp2p URLs are refused as
// not built yet.
package transfer
