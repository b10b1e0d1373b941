package r1cs

import (
	"context"
	"errors"
	"testing"
)

type square struct{ x, y uint64 }

// Synthesize says that the public y is the square of the private x, with the
// terms of x out of order and repeated.
func (s square) Synthesize(_ context.Context, cs ConstraintSystem) error {
	var x, y, one, two Element
	x.SetUint64(s.x)
	y.SetUint64(s.y)
	one.SetOne()
	two.SetUint64(2)
	in, aux := cs.Input(y), cs.Aux(x)
	var minus Element
	minus.Neg(&one)
	cs.Enforce(LC{{aux, two}, {One, one}, {aux, minus}, {One, minus}}, LC{{aux, one}}, LC{{in, one}})
	return nil
}

func TestSatisfied(t *testing.T) {
	in, err := Satisfied(context.Background(), square{3, 9})
	if err != nil || len(in) != 1 || in[0].Uint64() != 9 {
		t.Errorf("inputs %v, %v", in, err)
	}
	var u *Unsatisfied
	if _, err := Satisfied(context.Background(), square{3, 8}); !errors.As(err, &u) || u.Constraint != 0 || u.Failed != 1 {
		t.Errorf("a false statement: %v", err)
	}
}

// plainSquare is square in its shortest form.
type plainSquare struct{ square }

func (s plainSquare) Synthesize(_ context.Context, cs ConstraintSystem) error {
	var x, y, one Element
	x.SetUint64(s.x)
	y.SetUint64(s.y)
	one.SetOne()
	in, aux := cs.Input(y), cs.Aux(x)
	cs.Enforce(LC{{aux, one}}, LC{{aux, one}}, LC{{in, one}})
	return nil
}

// Terms of one variable count once, and those that vanish not at all.
func TestDigestNormalizes(t *testing.T) {
	a, err := Summarize(context.Background(), square{3, 9}, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Summarize(context.Background(), plainSquare{square{3, 9}}, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if a.R1CS != b.R1CS || a.Counts != b.Counts || a.AuxValues != b.AuxValues || a.InputValues != b.InputValues {
		t.Errorf("%+v\n%+v", a, b)
	}
	if a.Terms != [3]int{1, 1, 1} || a.Inputs != 2 || a.Aux != 1 || a.Constraints != 1 {
		t.Errorf("%+v", a.Counts)
	}
	if len(a.Checkpoints) != 2 || a.Checkpoints[1].Sum != a.R1CS || a.Checkpoints[0].Sum == a.R1CS {
		t.Errorf("checkpoints %+v", a.Checkpoints)
	}
	other, err := Summarize(context.Background(), plainSquare{square{4, 9}})
	if err != nil || other.R1CS != a.R1CS || other.AuxValues == a.AuxValues {
		t.Errorf("another witness: %+v, %v", other, err)
	}
}
