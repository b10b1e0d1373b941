// Package serve is the one listener of a process: it authenticates, enforces
// permissions, serves the JSON-RPC interfaces of package api under
// /rpc/v0 and /rpc/v1 (namespace Filecoin) and the byte routes others register.
//
// It refuses every request without a token, except on the routes registered
// with HandlePublic and where Config.DefaultPerms says what strangers may do.
// It holds no business rule and knows no subsystem beyond its interface.
package serve
