// Package printable makes text of strangers fit for a terminal and for one line
// of a log: what a terminal would obey or hide is shown as an escape instead,
// such as \x1b, \u202e or \n.
//
// A Writer does so for everything a command prints, Value and Line for the texts
// in a result, where a line break would forge a line. The package shortens and
// drops nothing unless it is told a limit, and knows no colours: whoever draws
// on a terminal writes to it past the Writer.
package printable
