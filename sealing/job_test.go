package sealing

import (
	"encoding/json"
	"testing"

	"quarry/api"
)

// TestCountedWorkKeepsItsNames pins how tries are counted in stored records.
func TestCountedWorkKeepsItsNames(t *testing.T) {
	for text, j := range map[string]job{
		"PC1":               {kind: jobPC1},
		"PC2":               {kind: jobPC2},
		"C1":                {kind: jobC1},
		"C2":                {kind: jobC2},
		"FIN":               {kind: jobFinalize},
		"AP0":               {kind: jobAddPiece},
		"AP3":               {kind: jobAddPiece, piece: 3},
		"precommit":         {kind: jobPreCommit},
		"commit":            {kind: jobCommit},
		"RU.1":              {kind: jobUpdate, round: 1},
		"PR1.2":             {kind: jobPR1, round: 2},
		"PR2.10":            {kind: jobPR2, round: 10},
		"update.2":          {kind: jobSendUpdate, round: 2},
		"FRU-release-key.2": {kind: jobUpdateFiles, round: 2, files: api.UpdateReleaseKey},
		"FRU-keep.1":        {kind: jobUpdateFiles, round: 1, files: api.UpdateKeep},
	} {
		if got := j.String(); got != text {
			t.Errorf("%+v is named %q, want %q", j, got, text)
		}
		var back job
		if err := back.UnmarshalText([]byte(text)); err != nil || back != j {
			t.Errorf("%q reads as %+v (%v), want %+v", text, back, err, j)
		}
	}
	for _, bad := range []string{"APx", "AP", "update.0", "update.-1", "update.x", "AP1.x"} {
		if err := new(job).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	var r record
	if err := json.Unmarshal([]byte(`{"Attempts":{"AP3":2,"update.2":1}}`), &r); err != nil {
		t.Fatal(err)
	}
	if r.Attempts[job{kind: jobAddPiece, piece: 3}] != 2 || r.Attempts[job{kind: jobSendUpdate, round: 2}] != 1 {
		t.Errorf("read back: %v", r.Attempts)
	}
}
