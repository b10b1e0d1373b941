// Package apitest runs the same checks against an interface of package api in
// process, over HTTP and over a websocket, with permissions always on.
//
// It is for tests only and knows no subsystem: implementations are handed in.
package apitest
