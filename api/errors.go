package api

import (
	"errors"
	"fmt"
)

// Errors of this package cross RPC intact: node/serve finds the first of them
// in a chain with errors.As, sends it with its code, and api/client rebuilds
// the same type. Each is a struct with JSON fields and a pointer receiver.

// ErrNotServedHere answers a call to a subsystem that does not run in the
// process that was asked.
type ErrNotServedHere struct {
	Subsystem Subsystem
	Method    string
	ServedBy  string // where to go instead, a sentence
}

// Error implements error.
func (e *ErrNotServedHere) Error() string {
	if e.Subsystem == "" {
		return fmt.Sprintf("%s is not served here; served by %s", e.Method, e.ServedBy)
	}
	return fmt.Sprintf("%s is not served here (subsystem %s); served by %s", e.Method, e.Subsystem, e.ServedBy)
}

// ErrNotFound says that a named thing does not exist.
type ErrNotFound struct {
	What string // "sector 7", "deal ...", "storage path ..."
	Hint string
}

// Error implements error.
func (e *ErrNotFound) Error() string { return withHint(e.What+" not found", e.Hint) }

// ErrInvalid refuses bad input; nothing was changed.
type ErrInvalid struct {
	What   string // what was refused
	Reason string
	Hint   string
}

// Error implements error.
func (e *ErrInvalid) Error() string { return withHint(e.What+": "+e.Reason, e.Hint) }

// ErrBusy asks the caller to try again later; nothing was changed.
type ErrBusy struct {
	What   string
	Reason string
}

// Error implements error.
func (e *ErrBusy) Error() string { return e.What + " is busy: " + e.Reason + " (try again later)" }

// ErrPieceMismatch says that the bytes are not those of the commitment. Never
// retry with the same bytes.
type ErrPieceMismatch struct{ Want, Got string }

// Error implements error.
func (e *ErrPieceMismatch) Error() string {
	return fmt.Sprintf("commp mismatch: expected=%s, actual=%s", e.Want, e.Got)
}

// ErrUnreachable says that the outcome is unknown because the other process
// could not be reached; repeat the same keyed call.
type ErrUnreachable struct {
	Peer   string
	Reason string
}

// Error implements error.
func (e *ErrUnreachable) Error() string {
	return fmt.Sprintf("%s is unreachable: %s", e.Peer, e.Reason)
}

// ErrNoSpace says that no storage path can take the bytes.
type ErrNoSpace struct {
	What      string
	NeedBytes uint64
	Hint      string
}

// Error implements error.
func (e *ErrNoSpace) Error() string {
	return withHint(fmt.Sprintf("no space for %s (%d bytes)", e.What, e.NeedBytes), e.Hint)
}

// ErrLocked says that a sector's files are locked by somebody else.
type ErrLocked struct {
	Sector string
	Holder string
}

// Error implements error.
func (e *ErrLocked) Error() string {
	return "files of sector " + e.Sector + " are locked by " + e.Holder
}

// ErrLeaseLost says that a lock or a task claim expired and may belong to
// somebody else now; the work must be abandoned.
type ErrLeaseLost struct{ What string }

// Error implements error.
func (e *ErrLeaseLost) Error() string { return "lease lost: " + e.What }

// ErrUnsupportedProof says what this build cannot prove yet.
type ErrUnsupportedProof struct {
	What string
	Hint string
}

// Error implements error.
func (e *ErrUnsupportedProof) Error() string { return withHint("cannot prove "+e.What+" yet", e.Hint) }

// ErrPermission names the missing permission.
type ErrPermission struct {
	Method string
	Need   Permission
}

// Error implements error.
func (e *ErrPermission) Error() string {
	return fmt.Sprintf("missing permission to invoke '%s' (need '%s')", e.Method, e.Need)
}

// ErrGivenUp says that a piece had a place, or was to get one, and has lost it:
// its sector failed, was removed, or its update was given up. The key will never
// be placed again; offer the piece under a new one.
type ErrGivenUp struct {
	What   string // "piece ..."
	Sector string // that gave it up, s-t01000-7
	Reason string
}

// Error implements error.
func (e *ErrGivenUp) Error() string {
	return fmt.Sprintf("%s: sector %s gave its place up: %s; it must be placed again", e.What, e.Sector, e.Reason)
}

// ErrActorNotFound says that an address has no actor. Lotus clients know it by
// its code and by the words "actor not found" (lotus api/api_errors.go).
type ErrActorNotFound struct{ Address string }

// Error implements error.
func (e *ErrActorNotFound) Error() string { return "resolve " + e.Address + ": actor not found" }

// ErrF3Disabled says that the node takes no part in fast finality. Lotus clients
// know it by its code and its words (lotus api/api_errors.go).
type ErrF3Disabled struct{}

// Error implements error.
func (e *ErrF3Disabled) Error() string { return "f3 is disabled" }

// ErrInUse says that only one process may be what the caller is, and another
// one is.
type ErrInUse struct {
	What   string // "the identity of markets node ...", "storage path ..."
	Holder string // "process 123 on host since ..."
	Hint   string
}

// Error implements error.
func (e *ErrInUse) Error() string { return withHint(e.What+" is in use by "+e.Holder, e.Hint) }

// ErrorTable lists every error that crosses RPC with its JSON-RPC code. Codes
// are never renumbered; 2..99 are those of Lotus's own table.
func ErrorTable() map[int]error {
	return map[int]error{
		4:   new(ErrF3Disabled),    // EF3Disabled of Lotus
		11:  new(ErrActorNotFound), // EActorNotFound of Lotus
		101: new(ErrNotServedHere),
		102: new(ErrNotFound),
		103: new(ErrInvalid),
		104: new(ErrBusy),
		105: new(ErrPieceMismatch),
		106: new(ErrUnreachable),
		107: new(ErrNoSpace),
		108: new(ErrLocked),
		109: new(ErrLeaseLost),
		110: new(ErrUnsupportedProof),
		111: new(ErrPermission),
		112: new(ErrGivenUp),
		120: new(ErrInUse),
	}
}

// IsTemporary tells whether repeating the same call later can succeed.
func IsTemporary(err error) bool {
	var busy *ErrBusy
	var unreachable *ErrUnreachable
	var space *ErrNoSpace
	var locked *ErrLocked
	return errors.As(err, &busy) || errors.As(err, &unreachable) || errors.As(err, &space) || errors.As(err, &locked)
}

func withHint(s, hint string) string {
	if hint == "" {
		return s
	}
	return s + "; " + hint
}
