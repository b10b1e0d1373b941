package kerneltest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/sync/errgroup"

	"quarry/proofs/kernel"
)

// Options are how a backend is tested.
type Options struct {
	// MayRefuse lets the backend answer kernel.ErrUnsupported to work that does
	// not suit it, as small sizes do not suit a device. It must do the large cases.
	MayRefuse bool
}

// Case is one thing that a backend must do. It gives the first thing that was
// wrong.
type Case struct {
	Name string
	Run  func(ctx context.Context) error
}

// Run tests all backends of a set; kinds that are nil are left out.
func Run(t *testing.T, set kernel.Set, o Options) {
	t.Helper()
	for _, c := range Cases(set, o) {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			if err := c.Run(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Cases are the cases of all backends of a set.
func Cases(set kernel.Set, o Options) []Case {
	var all []Case
	if set.Labels != nil {
		all = append(all, labelSuite{set.Labels, o}.cases()...)
	}
	if set.Trees != nil {
		all = append(all, treeSuite{set.Trees, o}.cases()...)
	}
	if set.Points != nil {
		all = append(all, pointSuite{set.Points, o}.cases()...)
	}
	if set.Transforms != nil {
		all = append(all, transformSuite{set.Transforms, o}.cases()...)
	}
	return all
}

// refused tells a refusal that is allowed.
func (o Options) refused(err error) bool { return o.MayRefuse && errors.Is(err, kernel.ErrUnsupported) }

// ended is an error if a call whose context had ended at the start did not say
// so, or changed what it was given. It may be refused as well.
func (o Options) ended(what string, err error, same bool) error {
	if o.refused(err) {
		return wrong(what, err, kernel.ErrUnsupported, same)
	}
	return wrong(what+" of a context that has ended", err, context.Canceled, same)
}

// wrong is an error if a call that must fail with want did not, or changed what
// it was given.
func wrong(what string, err, want error, same bool) error {
	switch {
	case !errors.Is(err, want):
		return fmt.Errorf("%s: got %w, want: %w", what, orNone(err), want)
	case !same:
		return fmt.Errorf("%s: refused, but its arguments were changed", what)
	}
	return nil
}

var errNone = errors.New("no error")

func orNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

// gone is a context that has ended.
func gone(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}

// atOnce runs many calls of do at the same time.
func atOnce(do func(i int) error) error {
	const calls = 16
	var g errgroup.Group
	for i := range calls {
		g.Go(func() error {
			if err := do(i); err != nil {
				return fmt.Errorf("one of %d calls at once: %w", calls, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// random is a source of numbers that are the same in every run.
func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 20)) }

func fill(r *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
}
