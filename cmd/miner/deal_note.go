package main

import (
	"fmt"
	"io"

	"quarry/api"
)

// dealNote is what the list says of a deal: its error, else what of its payload
// cannot be retrieved.
func dealNote(d api.DealInfo) string {
	if d.Err != "" {
		return d.Err
	}
	return d.IndexNote
}

func printIndexNote(w io.Writer, d api.DealInfo) {
	if d.IndexNote != "" {
		fmt.Fprintf(w, "retrieval:  %s\n", d.IndexNote)
	}
}
