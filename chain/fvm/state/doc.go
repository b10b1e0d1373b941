// Package state holds the actor state tree of one machine: a write buffer over
// a content-addressed store, the tree of actors with nested transactions, and
// the copy of reachable new blocks to the store below.
//
// It runs no code and charges no gas, and it refuses state trees of another
// version than 5.
package state
