// Package secret holds strings that must not reach logs, errors or printed
// configuration.
//
// It does not encrypt: it only makes disclosure a deliberate call.
package secret
