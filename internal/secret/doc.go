// Package secret holds strings that must not reach logs, errors or printed
// configuration, and reads the files that hold them.
//
// It does not encrypt: it only makes disclosure a deliberate call, and refuses
// files that others can read or replace. It changes no file's mode by itself.
package secret
