package instrument

import (
	"errors"
	"slices"
)

// Prices in milligas.
const (
	perInstruction = 4_000
	perDefinedCall = 52_000 // 13 priced instructions of the stack limiter's wrapper
	perMemoryByte  = 400
	perPage        = 65536 * perMemoryByte
	perTableEntry  = 8 * perMemoryByte
)

// linear is the price per unit of the top of the stack, 0 for others.
func linear(code uint16) uint64 {
	switch code {
	case opMemoryGrow:
		return perPage
	case opMemoryInit, opMemoryCopy, opMemoryFill:
		return perMemoryByte
	case opTableInit, opTableCopy, opTableGrow, opTableFill:
		return perTableEntry
	}
	return 0
}

func (m *module) cost(op *operator) uint64 {
	switch op.code {
	case opNop, opBlock, opLoop, opUnreachable, opReturn, opElse, opEnd, opDrop:
		return 0
	case opCall:
		if op.index >= m.imports {
			return perDefinedCall
		}
	}
	return perInstruction
}

// run is a straight stretch of code charged at its start.
type run struct {
	start int // instruction index
	cost  uint64
}

type frame struct {
	lowest int // outermost forward branch target inside
	active run
	loop   bool
}

// counter finds the stretches; see gas_metering determine_metered_blocks.
type counter struct {
	stack []frame
	done  []run
}

func (c *counter) top() *frame { return &c.stack[len(c.stack)-1] }

func (c *counter) open(start int, loop bool) {
	c.stack = append(c.stack, frame{lowest: len(c.stack), active: run{start: start}, loop: loop})
}

func (c *counter) finalize(cursor int) {
	top := c.top()
	closing := top.active
	top.active = run{start: cursor + 1}
	if n := len(c.stack); n > 1 {
		if parent := &c.stack[n-2].active; parent.start == closing.start {
			parent.cost += closing.cost
			return
		}
	}
	if closing.cost > 0 {
		c.done = append(c.done, closing)
	}
}

func (c *counter) close(cursor int) {
	c.finalize(cursor)
	n := len(c.stack) - 1
	closed := c.stack[n]
	c.stack = c.stack[:n]
	if n == 0 {
		return
	}
	top := c.top()
	top.lowest = min(top.lowest, closed.lowest)
	if closed.lowest < n {
		c.finalize(cursor)
	}
}

func (c *counter) branch(cursor int, targets ...int) error {
	c.finalize(cursor)
	for _, t := range targets {
		if t < 0 || t >= len(c.stack) {
			return errors.New("branch out of its function")
		}
		if !c.stack[t].loop {
			c.top().lowest = min(c.top().lowest, t)
		}
	}
	return nil
}

// plan returns the stretches of a body by start and which instructions need
// their amount charged when they run.
func (m *module) plan(ops []operator) ([]run, map[int]uint64, error) {
	c := &counter{}
	c.open(0, false)
	dynamic := make(map[int]uint64)
	constant := false
	var value int32
	for i := range ops {
		op := &ops[i]
		if len(c.stack) == 0 {
			return nil, nil, errors.New("code after the end of a function")
		}
		cost := m.cost(op)
		if unit := linear(op.code); unit != 0 {
			if constant && value < 0 {
				return nil, nil, errors.New("negative constant size")
			}
			if constant {
				cost += uint64(value) * unit
			} else {
				dynamic[i] = unit
			}
		}
		if err := c.step(op, i, cost); err != nil {
			return nil, nil, err
		}
		constant, value = op.code == opI32Const, op.value
	}
	if len(c.stack) != 0 {
		return nil, nil, errors.New("function without end")
	}
	slices.SortFunc(c.done, func(a, b run) int { return a.start - b.start })
	return c.done, dynamic, nil
}

func (c *counter) step(op *operator, i int, cost uint64) error {
	active := len(c.stack) - 1
	c.top().active.cost += cost
	switch op.code {
	case opBlock:
		c.open(c.top().active.start, false)
	case opIf, opLoop:
		c.open(i+1, op.code == opLoop)
	case opEnd:
		c.close(i)
	case opElse:
		c.finalize(i)
	case opBr, opBrIf:
		return c.branch(i, active-int(op.index))
	case opBrTable:
		// The default target is left out, as upstream does.
		targets := make([]int, len(op.table))
		for j, l := range op.table {
			targets[j] = active - int(l)
		}
		return c.branch(i, targets...)
	case opReturn:
		return c.branch(i, 0)
	}
	return nil
}
