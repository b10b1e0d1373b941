// Package build says which version of the suite this is.
//
// It reads no environment and holds no network parameters: those come from the
// chain node over RPC.
package build
