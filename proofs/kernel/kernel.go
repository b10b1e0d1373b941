package kernel

import "errors"

var (
	// ErrUnsupported is the cause of a backend's refusal to do what it cannot do,
	// though it makes sense. Nothing was changed; the CPU can do it.
	ErrUnsupported = errors.New("this backend cannot do that")
	// ErrInput is the cause of a refusal of arguments that no backend can use.
	// Nothing was changed.
	ErrInput = errors.New("the kernel's input makes no sense")
)

// Set is a choice of backends, one for each kind of work; nil is the CPU, so that
// the zero value is the CPU for everything. A device that is good at one kind sets
// that one alone.
type Set struct {
	Labels     Labels
	Trees      Trees
	Points     Points
	Transforms Transforms
}

// Or is s, with what it lacks or refuses done by other.
func (s Set) Or(other Set) Set {
	return Set{
		Labels:     LabelsOr(s.Labels, other.Labels),
		Trees:      TreesOr(s.Trees, other.Trees),
		Points:     PointsOr(s.Points, other.Points),
		Transforms: TransformsOr(s.Transforms, other.Transforms),
	}
}

// or is the error of the first backend, or of the second where the first refused.
func or(first error, second func() error) error {
	if errors.Is(first, ErrUnsupported) {
		return second()
	}
	return first
}
