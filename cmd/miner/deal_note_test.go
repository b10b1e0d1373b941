package main

import (
	"bytes"
	"testing"

	"quarry/api"
)

// What of a payload cannot be retrieved is shown with the deal, and in the list
// where no error stands.
func TestDealSaysWhatCannotBeRetrieved(t *testing.T) {
	tests := map[string]struct {
		deal       api.DealInfo
		note, line string
	}{
		"whole":    {api.DealInfo{}, "", ""},
		"not all":  {api.DealInfo{IndexNote: "1 block is indexed"}, "1 block is indexed", "retrieval:  1 block is indexed\n"},
		"an error": {api.DealInfo{Err: "no room", IndexNote: "none"}, "no room", "retrieval:  none\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := dealNote(tt.deal); got != tt.note {
				t.Errorf("the list says %q", got)
			}
			var out bytes.Buffer
			if printIndexNote(&out, tt.deal); out.String() != tt.line {
				t.Errorf("the deal says %q", out.String())
			}
		})
	}
}
