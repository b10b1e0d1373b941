// Package progress shows how far long work is: one line that is drawn over in a
// terminal, plain lines now and then in a pipe or a log file. It refuses to show
// anything but stage, share and remaining time; results are printed by whoever
// has them.
package progress
