package main

import (
	"time"

	"quarry/api"
)

// linkLine tells how the two halves are joined in pull mode.
func linkLine(l api.LinkStatus) string {
	since := l.Since.UTC().Format(time.RFC3339)
	before := ""
	if l.LastError != "" {
		before = ", lost before: " + l.LastError
	}
	switch {
	case l.Connected && l.Opens:
		return "pull mode, linked to the markets node at " + l.Peer + " since " + since + before
	case l.Connected:
		return "pull mode, linked by the private node (" + l.Peer + ") since " + since + before
	case l.Opens:
		return "pull mode, NO LINK to the markets node at " + l.Peer + " since " + since + ", it is tried for ever: " + l.LastError
	}
	return "pull mode, NO LINK of the private node since " + since + ": " + l.LastError
}
