// Package outage keeps the log short while the full node is away: the first
// call that finds it so is a warning, those that follow are for debugging.
//
// It hides nothing but repetition: other errors are always warnings, and a
// status that shows the last error shows it whatever the level.
package outage
