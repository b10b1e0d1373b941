// Package client dials the interfaces of package api over JSON-RPC.
//
// A client is made without a connection and outlives any number of restarts of
// its server: every call is one HTTP request, every subscription one websocket.
// It does not retry on its own beyond what cannot have reached the server
// twice, and puts no time limit on a call besides its context. Errors come back
// as the types of package api.
package client
