// Package unsealed reads and writes a sector's unsealed file: fr32-padded
// sector data, followed by a record of which ranges were ever written.
//
// The format is that of lotus storage/sealer/partialfile: exactly sector-size
// bytes of data, the RLE+ bit field of allocated padded bytes, and the length
// of that field as a little-endian uint32. Both programs read each other's
// files.
//
// A range counts as present only after Mark, which syncs the data first. The
// package does not lock (callers hold a lease of the storage index) and never
// writes to a file that was opened for reading.
package unsealed
