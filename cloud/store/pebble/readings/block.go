package readings

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"gnomon/cloud/readings"
	"gnomon/schema/reading"
)

// block is the rows of one meter in one piece of time, or some of them. Laid out
// (all numbers are varints):
//
//	format, 1
//	items:   how many, then each with its length
//	reasons: likewise
//	rows:    how many, then the time of the first and the distances to the next
//	for each row: how many tellings it is of, then source, version, arrived - time, stored - arrived of each
//	for each item, for each row: head = state | sameExponent<<2 | telling<<3, then
//	         of a good value the exponent unless it is that of the good one before in the column, and the difference of mantissas
//	         (of a missing one the reason)
//
// so that a column of like values takes two or three bytes for each.
type block struct {
	items   []string
	reasons []string
	rows    []row
	cut     bool // some of it is out of bounds, and left out; not laid out
}

type row struct {
	at       int64
	tellings []telling
	cells    []cell // one for each item
}

type telling struct {
	source          reading.Source
	version         uint64
	arrived, stored int64
}

// cell is a value, in as little room as may be: there are many at once.
type cell struct {
	mantissa int64
	exponent int16
	telling  uint16 // of its row
	reason   uint16
	state    reading.State
}

func (c *cell) number() reading.Number {
	return reading.Number{Mantissa: c.mantissa, Exponent: c.exponent}
}

const (
	blockFormat  = 1
	stateBits    = 2
	stateMask    = 1<<stateBits - 1
	sameExponent = 1 << stateBits
	tellingShift = stateBits + 1
)

var errBlock = errors.New("damaged block of readings")

func (b *block) append(out []byte) []byte {
	out = append(out, blockFormat)
	out = appendTexts(out, b.items)
	out = appendTexts(out, b.reasons)
	out = binary.AppendUvarint(out, uint64(len(b.rows)))
	last := int64(0)
	for i := range b.rows {
		out = binary.AppendVarint(out, b.rows[i].at-last)
		last = b.rows[i].at
	}
	for i := range b.rows {
		r := &b.rows[i]
		out = binary.AppendUvarint(out, uint64(len(r.tellings)))
		for _, t := range r.tellings {
			out = append(out, byte(t.source))
			out = binary.AppendUvarint(out, t.version)
			out = binary.AppendVarint(out, t.arrived-r.at)
			out = binary.AppendVarint(out, t.stored-t.arrived)
		}
	}
	for c := range b.items {
		var before reading.Number
		for i := range b.rows {
			out, before = b.rows[i].cells[c].append(out, before)
		}
	}
	return out
}

func appendTexts(out []byte, texts []string) []byte {
	out = binary.AppendUvarint(out, uint64(len(texts)))
	for _, t := range texts {
		out = binary.AppendUvarint(out, uint64(len(t)))
		out = append(out, t...)
	}
	return out
}

func (c *cell) append(out []byte, before reading.Number) ([]byte, reading.Number) {
	head := uint64(c.state) | uint64(c.telling)<<tellingShift
	switch c.state {
	case reading.Absent:
		return append(out, 0), before
	case reading.Missing:
		return binary.AppendUvarint(binary.AppendUvarint(out, head), uint64(c.reason)), before
	}
	if c.exponent == before.Exponent {
		head |= sameExponent
	}
	out = binary.AppendUvarint(out, head)
	if head&sameExponent == 0 {
		out = binary.AppendVarint(out, int64(c.exponent))
	}
	return binary.AppendVarint(out, c.mantissa-before.Mantissa), c.number() // the difference may go round, and comes back so
}

// reader takes a block apart; the first thing that is wrong is kept.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.rest, r.bad = nil, true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.rest, r.bad = nil, true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// count is a number of things that take a byte each at least.
func (r *reader) count() int {
	n := r.uint()
	if n > uint64(len(r.rest)) {
		r.rest, r.bad = nil, true
		return 0
	}
	return int(n)
}

func (r *reader) texts() []string {
	texts := make([]string, r.count())
	for i := range texts {
		n := r.count()
		texts[i], r.rest = string(r.rest[:n]), r.rest[n:]
	}
	return texts
}

func parse(data []byte) (*block, error) {
	if len(data) == 0 || data[0] != blockFormat {
		return nil, fmt.Errorf("%w: not of format %d", errBlock, blockFormat)
	}
	r := &reader{rest: data[1:]}
	b := &block{items: r.texts(), reasons: r.texts()}
	b.rows = make([]row, r.count())
	at := int64(0)
	for i := range b.rows {
		at += r.int()
		b.rows[i].at = at
	}
	for i := range b.rows {
		b.rows[i].tellings = make([]telling, r.count())
		for j := range b.rows[i].tellings {
			t := &b.rows[i].tellings[j]
			t.source, t.version = reading.Source(r.uint()), r.uint()
			t.arrived = b.rows[i].at + r.int()
			t.stored = t.arrived + r.int()
		}
	}
	if len(b.items)*len(b.rows) > len(r.rest) { // each takes a byte at least
		return nil, errBlock
	}
	cells := make([]cell, len(b.items)*len(b.rows))
	for i := range b.rows {
		b.rows[i].cells = cells[i*len(b.items) : (i+1)*len(b.items)]
	}
	for c := range b.items {
		var before reading.Number
		for i := range b.rows {
			before = r.cell(b, i, c, before)
		}
	}
	if r.bad || len(r.rest) > 0 {
		return nil, errBlock
	}
	return b, nil
}

func (r *reader) cell(b *block, at, column int, before reading.Number) reading.Number {
	head := r.uint()
	c := &b.rows[at].cells[column]
	c.state = reading.State(head & stateMask)
	if c.state == reading.Absent {
		return before
	}
	telling := head >> tellingShift
	c.telling = uint16(telling) //nolint:gosec // as below
	if telling >= uint64(len(b.rows[at].tellings)) || telling > math.MaxUint16 || c.state > reading.Missing {
		r.bad = true
		c.telling = 0
		return before
	}
	if c.state == reading.Missing {
		reason := r.uint()
		c.reason = uint16(reason) //nolint:gosec // as below
		if reason >= uint64(len(b.reasons)) || reason > math.MaxUint16 {
			r.bad, c.reason = true, 0
		}
		return before
	}
	c.exponent = before.Exponent
	if head&sameExponent == 0 {
		c.exponent = int16(r.int())
	}
	c.mantissa = before.Mantissa + r.int()
	return c.number()
}

// merge lays later blocks over earlier ones, within bounds. The blocks are used up.
func merge(blocks []*block, within bounds) *block {
	if len(blocks) == 1 {
		return blocks[0]
	}
	out := new(block)
	for _, b := range blocks {
		out.items = union(out.items, b.items)
		if len(out.items) > within.items {
			out.items, out.cut = out.items[:within.items], true
		}
		out.reasons = within.clipReasons(union(out.reasons, b.reasons))
		out.rows = append(out.rows, b.rows...)
	}
	n := 0
	for _, b := range blocks {
		if slices.Equal(b.items, out.items) && slices.Equal(b.reasons, out.reasons) {
			n += len(b.rows)
			continue
		}
		columns, reasons := places(out.items, b.items), places(out.reasons, b.reasons)
		others, _ := slices.BinarySearch(out.reasons, manyReasons)
		for i, at := range reasons {
			if at < 0 {
				reasons[i] = others
			}
		}
		for range b.rows {
			out.rows[n].spread(columns, reasons, len(out.items))
			n++
		}
	}
	out.fold()
	within.cutRows(out)
	return out
}

// own has the block keep its cells and rows alone, and not those they came with, of
// which each may be one of thousands.
func (b *block) own() {
	rows, cells := slices.Clone(b.rows), make([]cell, 0, len(b.rows)*len(b.items))
	for i := range rows {
		from := len(cells)
		cells = append(cells, rows[i].cells...)
		rows[i].cells = cells[from:len(cells):len(cells)]
	}
	b.rows = rows
}

// fold orders rows by time and makes one of those of the same time, what came
// later being laid over what came earlier.
func (b *block) fold() {
	slices.SortStableFunc(b.rows, func(x, y row) int { return cmp.Compare(x.at, y.at) })
	kept := b.rows[:0]
	for _, r := range b.rows {
		if last := len(kept) - 1; last >= 0 && kept[last].at == r.at {
			kept[last].overlay(r)
		} else {
			kept = append(kept, r)
		}
	}
	b.rows = kept
}

// union returns the texts of both, in order, each once.
func union(a, b []string) []string {
	if slices.Equal(a, b) {
		return a
	}
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

// places tells where each of some texts is among all; −1: it isn't there.
func places(all, some []string) []int {
	out := make([]int, len(some))
	for i, s := range some {
		at, there := slices.BinarySearch(all, s)
		if !there {
			at = -1
		}
		out[i] = at
	}
	return out
}

// spread has a row's cells where the items of a merged block are; those of others go.
func (r *row) spread(columns, reasons []int, items int) {
	cells, gone := make([]cell, items), false
	for i, c := range r.cells {
		if columns[i] < 0 {
			gone = true
			continue
		}
		if c.state == reading.Missing {
			c.reason = uint16(reasons[c.reason]) //nolint:gosec // a block has no more
		}
		cells[columns[i]] = c
	}
	r.cells = cells
	if gone {
		r.tidy()
	}
}

// overlay takes from a row told later what supersedes.
func (r *row) overlay(later row) {
	moved := make([]uint16, len(later.tellings)) // place of a telling in r, plus one
	for i, c := range later.cells {
		if !readings.Supersedes(c.state, r.cells[i].state) {
			continue
		}
		if moved[c.telling] == 0 {
			r.tellings = append(slices.Clip(r.tellings), later.tellings[c.telling])
			moved[c.telling] = uint16(len(r.tellings)) //nolint:gosec // two for each item at most
		}
		c.telling = moved[c.telling] - 1
		r.cells[i] = c
	}
	r.tidy()
}

// tidy forgets tellings of which nothing is left.
func (r *row) tidy() {
	used := make([]bool, len(r.tellings))
	for _, c := range r.cells {
		if c.state != reading.Absent {
			used[c.telling] = true
		}
	}
	if !slices.Contains(used, false) {
		return
	}
	places := make([]uint16, len(used))
	kept := make([]telling, 0, len(r.tellings))
	for i, u := range used {
		if u {
			places[i] = uint16(len(kept)) //nolint:gosec // one for each item at most
			kept = append(kept, r.tellings[i])
		}
	}
	r.tellings = kept
	for i := range r.cells {
		if r.cells[i].state != reading.Absent {
			r.cells[i].telling = places[r.cells[i].telling]
		}
	}
}
