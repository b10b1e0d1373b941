package api

import "errors"

// Fault says whose trouble an error is, and with that what to do about it.
type Fault string

// Faults.
const (
	FaultCaller   Fault = "caller"   // what was asked for is wrong: do not repeat it
	FaultStore    Fault = "store"    // a place of ours cannot do it: another may, or the same later
	FaultNetwork  Fault = "network"  // somebody is away or busy: wait
	FaultOperator Fault = "operator" // somebody must change a setting or a token
)

// FaultOf says whose trouble err is. An error of no type is taken for one of
// our own: it is tried again and never held against the caller.
func FaultOf(err error) Fault {
	for _, row := range faults {
		if row.is(err) {
			return row.fault
		}
	}
	return FaultStore
}

func is[T error](err error) bool {
	var t T
	return errors.As(err, &t)
}

// faults has a row for every error of ErrorTable. Where a chain holds several,
// the first row decides: what can heal by itself goes before what cannot.
var faults = []struct {
	is    func(error) bool
	fault Fault
}{
	{is[*ErrGivenUp], FaultStore},
	{is[*ErrNoSpace], FaultStore},
	{is[*ErrLocked], FaultStore},
	{is[*ErrLeaseLost], FaultStore},
	{is[*ErrUnreachable], FaultNetwork},
	{is[*ErrBusy], FaultNetwork},
	{is[*ErrNotServedHere], FaultOperator},
	{is[*ErrPermission], FaultOperator},
	{is[*ErrInUse], FaultOperator},
	{is[*ErrUnsupportedProof], FaultOperator},
	{is[*ErrF3Disabled], FaultOperator},
	{is[*ErrNotFound], FaultCaller},
	{is[*ErrActorNotFound], FaultCaller},
	{is[*ErrInvalid], FaultCaller},
	{is[*ErrPieceMismatch], FaultCaller},
}
