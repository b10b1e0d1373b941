// Command proxygen reads the interfaces of package api and writes, for each,
// the two structs that carry it over JSON-RPC: the client side (function
// fields with permission tags) and the server side (a receiver that passes
// every call through one guard). For the parts that may be built anew while a
// process runs it writes a third one, which looks the part up at every call.
//
// It understands just the shapes package api uses and refuses everything else
// with the position of the offending method: every method takes a context,
// returns an error last, has a //perm: comment, and returns at most one value
// besides the error, or a slice and a cursor.
package main
