// Package inputfile opens what an operator names as a file to read.
//
// It refuses what is no ordinary file: a FIFO would make the command wait for
// ever, a device may never end, and the files of /proc and its kin have no size
// and change while they are read. It decides before anything is opened that
// could block, and checks again what was opened.
package inputfile
