package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

// every is one error of each type of the table, with every field set.
func every(t *testing.T) map[int]error {
	t.Helper()
	out := map[int]error{
		4:   &ErrF3Disabled{},
		11:  &ErrActorNotFound{Address: "f01000"},
		101: &ErrNotServedHere{Subsystem: SubsystemMining, Method: "M", ServedBy: "b"},
		102: &ErrNotFound{What: "w", Hint: "h"},
		103: &ErrInvalid{What: "w", Reason: "r", Hint: "h"},
		104: &ErrBusy{What: "w", Reason: "r"},
		105: &ErrPieceMismatch{Want: "w", Got: "g"},
		106: &ErrUnreachable{Peer: "p", Reason: "r"},
		107: &ErrNoSpace{What: "w", NeedBytes: 1<<64 - 1, Hint: "h"},
		108: &ErrLocked{Sector: "s", Holder: "h"},
		109: &ErrLeaseLost{What: "w"},
		110: &ErrUnsupportedProof{What: "w", Hint: "h"},
		111: &ErrPermission{Method: "m", Need: PermProve},
		112: &ErrGivenUp{What: "w", Sector: "s", Reason: "r"},
		120: &ErrInUse{What: "w", Holder: "p", Hint: "h"},
	}
	for code, proto := range ErrorTable() {
		require.IsType(t, proto, out[code], "an error of the table is not tried: code %d", code)
	}
	require.Len(t, out, len(ErrorTable()))
	return out
}

// sent is a failure after it was stored and read again.
func sent(t *testing.T, f *Failure) *Failure {
	t.Helper()
	b, err := json.Marshal(f)
	require.NoError(t, err)
	out := new(Failure)
	require.NoError(t, json.Unmarshal(b, out))
	return out
}

func TestFailureKeepsTheType(t *testing.T) {
	for code, want := range every(t) {
		for name, err := range map[string]error{
			"bare":    want,
			"wrapped": fmt.Errorf("seal sector 7: %w", want),
			"joined":  errors.Join(errors.New("first"), fmt.Errorf("twice: %w", fmt.Errorf("wrapped: %w", want)), &ErrBusy{What: "later"}),
			"again":   fmt.Errorf("the task failed: %w", sent(t, NewFailure(fmt.Errorf("once: %w", want), true))),
		} {
			for _, retryable := range []bool{true, false} {
				f := sent(t, NewFailure(err, retryable))
				require.Equal(t, code, f.Code, name)
				require.Equal(t, retryable, f.Retryable, name)
				require.EqualError(t, f, err.Error())
				require.Equal(t, want, f.Unwrap(), name)
				target := reflect.New(reflect.TypeOf(want))
				require.True(t, errors.As(fmt.Errorf("outside: %w", f), target.Interface()), name)
				require.Equal(t, want, target.Elem().Interface(), name)
				require.Equal(t, IsTemporary(want), IsTemporary(f), name)
			}
		}
	}
}

func TestFailureWithoutType(t *testing.T) {
	require.Nil(t, NewFailure(nil, true))
	var none *ErrBusy // nil, as a careless callee returns it
	untyped := []error{errors.New("plain"), fmt.Errorf("odd: %w", error(wrapper{none})), errors.Join(errors.New("a"), errors.New("b"))}
	for _, err := range untyped {
		f := sent(t, NewFailure(err, true))
		require.Equal(t, &Failure{Text: err.Error(), Retryable: true}, f)
		require.NoError(t, f.Unwrap())
		require.False(t, IsTemporary(f))
	}
	again := NewFailure(fmt.Errorf("more: %w", &Failure{Text: "plain"}), true)
	require.Equal(t, &Failure{Text: "more: plain", Retryable: true}, again)
}

// wrapper hides that what it wraps is nil.
type wrapper struct{ error }

func (w wrapper) Error() string { return "wrapped" }
func (w wrapper) Unwrap() error { return w.error }

func TestFailureOfAnotherVersion(t *testing.T) {
	for name, f := range map[string]*Failure{
		"unknown code":   {Text: "t", Code: 199, Detail: json.RawMessage(`{"What":"w"}`)},
		"no code":        {Text: "t", Detail: json.RawMessage(`{"What":"w"}`)},
		"no detail":      {Text: "t", Code: 102},
		"broken detail":  {Text: "t", Code: 102, Detail: json.RawMessage(`{`)},
		"strange detail": {Text: "t", Code: 102, Detail: json.RawMessage(`{"What":1}`)},
	} {
		require.NoError(t, f.Unwrap(), name)
		require.EqualError(t, f, "t", name)
	}
	more := &Failure{Text: "t", Code: 102, Detail: json.RawMessage(`{"What":"w","Later":true}`)}
	require.Equal(t, &ErrNotFound{What: "w"}, more.Unwrap(), "a field that a later version added")
}

func TestTypedFindsTheOutermost(t *testing.T) {
	inner, outer := &ErrNotFound{What: "inner"}, &ErrNotFound{What: "outer"}
	for name, c := range map[string]struct {
		err  error
		code int
		want error
	}{
		"nil":                 {},
		"plain":               {err: errors.New("x")},
		"first of several":    {errors.Join(errors.New("x"), outer, inner), 102, outer},
		"deep before broad":   {errors.Join(fmt.Errorf("y: %w", outer), &ErrBusy{}), 102, outer},
		"two in one":          {fmt.Errorf("%w and %w", &ErrBusy{What: "b"}, inner), 104, &ErrBusy{What: "b"}},
		"below a typed nil":   {errors.Join(wrapper{(*ErrBusy)(nil)}, inner), 102, inner},
		"none in any of them": {errors.Join(errors.New("x"), fmt.Errorf("%w", errors.New("y"))), 0, nil},
	} {
		code, got := Typed(c.err)
		require.Equal(t, c.code, code, name)
		require.Equal(t, c.want, got, name)
	}
}

func TestTexts(t *testing.T) {
	want := map[int]string{
		4:   "f3 is disabled",
		11:  "resolve f01000: actor not found",
		101: "M is not served here (subsystem Mining); served by b",
		102: "w not found; h",
		103: "w: r; h",
		104: "w is busy: r (try again later)",
		105: "commp mismatch: expected=w, actual=g",
		106: "p is unreachable: r",
		107: "no space for w (18446744073709551615 bytes); h",
		108: "files of sector s are locked by h",
		109: "lease lost: w",
		110: "cannot prove w yet; h",
		111: "missing permission to invoke 'm' (need 'prove')",
		112: "w: sector s gave its place up: r; it must be placed again",
		120: "w is in use by p; h",
	}
	temporary := map[int]bool{104: true, 106: true, 107: true, 108: true}
	for code, err := range every(t) {
		require.EqualError(t, err, want[code])
		require.Equal(t, temporary[code], IsTemporary(fmt.Errorf("x: %w", err)), code)
	}
	require.EqualError(t, &ErrNotFound{What: "w"}, "w not found")
}
