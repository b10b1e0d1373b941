package api

import (
	"errors"
	"fmt"
	"testing"
)

// Every error that crosses RPC says whose trouble it is, also when wrapped, and
// what nobody knows is our own.
func TestEveryErrorHasAFault(t *testing.T) {
	want := map[int]Fault{
		4:   FaultOperator,
		11:  FaultCaller,
		101: FaultOperator,
		102: FaultCaller,
		103: FaultCaller,
		104: FaultNetwork,
		105: FaultCaller,
		106: FaultNetwork,
		107: FaultStore,
		108: FaultStore,
		109: FaultStore,
		110: FaultOperator,
		111: FaultOperator,
		112: FaultStore,
		120: FaultOperator,
	}
	for code, err := range ErrorTable() {
		named := 0
		for _, row := range faults {
			if row.is(err) {
				named++
			}
		}
		if named != 1 {
			t.Errorf("error %d (%T) is in %d rows of the table of faults", code, err, named)
		}
		if got := FaultOf(fmt.Errorf("sector 7: %w", err)); got != want[code] {
			t.Errorf("%T is the fault of %q, want %q", err, got, want[code])
		}
	}
	if got := FaultOf(errors.New("sync directory: no such file")); got != FaultStore {
		t.Errorf("an error of no type is the fault of %q", got)
	}
	if got := FaultOf(errors.Join(&ErrInvalid{}, &ErrUnreachable{})); got != FaultNetwork {
		t.Errorf("what may heal counts for more: %q", got)
	}
}
