// Package election is the arithmetic of expected consensus: drawing
// randomness, counting how often a miner wins an epoch, and the quality of a
// ticket. Every function is pure and must give the same bits as any other
// implementation, or blocks are refused.
//
// It refuses to sign, to fetch and to decide when to try.
package election
