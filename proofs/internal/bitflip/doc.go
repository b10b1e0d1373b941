// Package bitflip changes single bits, for the tests that want every changed
// proof refused. It is for tests only.
package bitflip
