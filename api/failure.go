package api

import (
	"encoding/json"
	"errors"
	"reflect"
)

// Failure is an error that is kept and sent as data, with the type of the first
// error of this package in its chain.
type Failure struct {
	Text      string
	Code      int             `json:",omitempty"` // of ErrorTable; 0: none of its errors is in it
	Detail    json.RawMessage `json:",omitempty"` // that error
	Retryable bool            `json:",omitempty"` // the same work can succeed later, here or elsewhere
}

// NewFailure records err; nil for nil.
func NewFailure(err error, retryable bool) *Failure {
	if err == nil {
		return nil
	}
	var kept *Failure
	if errors.As(err, &kept) { // it was a failure before: its type is inside
		return &Failure{Text: err.Error(), Code: kept.Code, Detail: kept.Detail, Retryable: retryable}
	}
	f := &Failure{Text: err.Error(), Retryable: retryable}
	code, typed := Typed(err)
	if typed == nil {
		return f
	}
	if b, err := json.Marshal(typed); err == nil {
		f.Code, f.Detail = code, b
	}
	return f
}

// Error implements error.
func (f *Failure) Error() string { return f.Text }

// Unwrap gives the error of this package that was the reason; nil where it was
// none, or one that this version does not know.
func (f *Failure) Unwrap() error {
	proto, ok := ErrorTable()[f.Code]
	if !ok {
		return nil
	}
	out := reflect.New(reflect.TypeOf(proto).Elem())
	if json.Unmarshal(f.Detail, out.Interface()) != nil {
		return nil
	}
	err, _ := out.Interface().(error)
	return err
}

// Typed finds the outermost error of ErrorTable in a chain, with its code; 0 and
// nil when there is none.
func Typed(err error) (int, error) {
	return findTyped(err)
}

// codes is ErrorTable by type.
var codes = func() map[reflect.Type]int {
	m := map[reflect.Type]int{}
	for code, proto := range ErrorTable() {
		m[reflect.TypeOf(proto)] = code
	}
	return m
}()

func findTyped(err error) (int, error) {
	for err != nil {
		if code, ok := codes[reflect.TypeOf(err)]; ok && !reflect.ValueOf(err).IsNil() {
			return code, err
		}
		switch u := err.(type) { //nolint:errorlint // this is what errors.As does
		case interface{ Unwrap() error }:
			err = u.Unwrap()
		case interface{ Unwrap() []error }:
			for _, e := range u.Unwrap() {
				if code, found := findTyped(e); found != nil {
					return code, found
				}
			}
			return 0, nil
		default:
			return 0, nil
		}
	}
	return 0, nil
}
