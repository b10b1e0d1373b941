// Package rules holds the house rules that tests can check: who may import
// whom, what a binary links, that nothing needs cgo, that every package says
// what it is for, that pages show what exists.
//
// It has no code of its own and nothing imports it. When a test here fails,
// change the code, not the table; a table changes only together with the design.
package rules
