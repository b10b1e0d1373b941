package r1cs

import (
	"context"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// Element is a scalar of BLS12-381, in Montgomery form.
type Element = fr.Element

// Variable names a variable of a constraint system: its number in order of
// allocation, with the top bit set for private (aux) variables. Public inputs and
// aux variables are numbered apart.
type Variable uint32

const auxBit Variable = 1 << 31

// One is public input 0, whose value is always 1.
const One Variable = 0

// Input is the public input with number i; 0 is One.
func Input(i int) Variable { return Variable(i) } // circuits have less than 2^31 variables

// Aux is the private variable with number i.
func Aux(i int) Variable { return Variable(i) | auxBit } // circuits have less than 2^31 variables

// IsAux tells private variables from public inputs.
func (v Variable) IsAux() bool { return v&auxBit != 0 }

// Index is the number among its own kind.
func (v Variable) Index() int { return int(v &^ auxBit) }

// Term is a coefficient times a variable.
type Term struct {
	V Variable
	C Element
}

// LC is a linear combination. A variable may occur more than once; its
// coefficients add up.
type LC []Term

// ConstraintSystem is told of every variable and constraint of a circuit, in
// order. Values are ignored by implementations that only need the shape.
type ConstraintSystem interface {
	// Input allocates the next public input; the first one gets number 1.
	Input(value Element) Variable
	// Aux allocates the next private variable; the first one gets number 0.
	Aux(value Element) Variable
	// Enforce adds the constraint a·b = c. The combinations belong to the caller
	// and may change after the call.
	Enforce(a, b, c LC)
}

// Circuit is a statement that can be walked through. Walking must tell the same
// shape whatever the values are. An error means that the inputs do not fit the
// circuit; a false statement is no error, its constraints do not hold.
type Circuit interface {
	Synthesize(ctx context.Context, cs ConstraintSystem) error
}
