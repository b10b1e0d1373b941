package gas

import (
	"errors"
	"math"
)

// Milli is an amount in thousandths of a gas unit.
type Milli int64

// ErrOutOfGas means that a charge exceeded what was left; the tracker then
// counts its whole limit as used.
var ErrOutOfGas = errors.New("out of gas")

// Gas converts whole gas units, saturating.
func Gas(n int64) Milli { return mul(Milli(n), 1000) }

func mul(a Milli, b int64) Milli {
	if a == 0 || b == 0 {
		return 0
	}
	c := int64(a) * b
	if c/b != int64(a) || (a == -1 && b == math.MinInt64) {
		if (a > 0) == (b > 0) {
			return math.MaxInt64
		}
		return math.MinInt64
	}
	return Milli(c)
}

func add(a, b Milli) Milli {
	c := a + b
	if a > 0 && b > 0 && c < 0 {
		return math.MaxInt64
	}
	return c
}

type level struct{ limit, used Milli }

// Tracker counts gas against a limit, with nested smaller limits for calls
// that the caller capped.
type Tracker struct {
	level
	stack []level
}

// NewTracker starts with a limit in gas units.
func NewTracker(limit int64) *Tracker { return &Tracker{level: level{limit: Gas(limit)}} }

// Charge uses m; when that exceeds the limit everything is used up and the
// error is ErrOutOfGas.
func (t *Tracker) Charge(m Milli) error {
	t.used = add(t.used, m)
	if t.used > t.limit {
		t.used = t.limit
		return ErrOutOfGas
	}
	return nil
}

// Available is what is left of the current limit.
func (t *Tracker) Available() Milli { return t.limit - t.used }

// Used is what the current limit has counted.
func (t *Tracker) Used() Milli { return t.used }

// GasUsed is the whole gas used, rounded up, as receipts state it.
func (t *Tracker) GasUsed() int64 { return int64((t.used + 999) / 1000) }

// Push caps what follows at m, or at what is left if that is less.
func (t *Tracker) Push(m Milli) {
	if a := t.Available(); m > a || m < 0 {
		m = a
	}
	t.stack = append(t.stack, t.level)
	t.level = level{limit: m}
}

// Pop ends the innermost cap and adds what was used under it.
func (t *Tracker) Pop() error {
	used := t.used
	n := len(t.stack) - 1
	t.level, t.stack = t.stack[n], t.stack[:n]
	return t.Charge(used)
}
