// Package blobstest is what every api.Blobs has to do, as tests: the store itself
// and the same store reached over HTTP pass one suite. It is for tests only.
package blobstest
