// Package parents keeps the parent cache files of a worker: which nodes each node
// of a sealing graph is hashed from. All sectors of one seal proof share a graph,
// so a file that takes an hour to compute for 32 GiB sectors (60 GB) serves every
// sector sealed after it.
//
// A file is made when it is first needed, goes on after an interruption, and is
// trusted when its digest is the published one. Nothing depends on it: whoever
// finds no file, or finds another process making it, computes parents as it goes.
// Sectors below 512 MiB always do; their graphs are computed faster than read.
//
// The package refuses to keep anything about single sectors.
package parents
