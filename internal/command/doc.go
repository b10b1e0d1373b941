// Package command is what all binaries' command lines have in common.
//
// A line is understood whole before anything is done: every word is a command, a
// flag of it or one of the arguments that the command's ArgsUsage names, flags may
// stand anywhere behind the command they belong to, and values are read as what
// they are (sizes, durations, numbers). What is left over, misspelt or missing is
// refused with the nearest thing that exists, and nothing is run.
//
// Help that was asked for goes to standard output, everything about a mistake to
// standard error. Exit codes: 0, it was done; 1, it was tried and failed; 2, it is
// the operator's turn: the line cannot be understood, so that nothing was done, or
// the command found something that needs a person.
//
// It knows no command of ours and prints no result.
package command
