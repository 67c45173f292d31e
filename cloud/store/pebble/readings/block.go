package readings

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

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

type cell struct {
	state   reading.State
	telling int // of its row
	reason  int
	number  reading.Number
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
	if c.number.Exponent == before.Exponent {
		head |= sameExponent
	}
	out = binary.AppendUvarint(out, head)
	if head&sameExponent == 0 {
		out = binary.AppendVarint(out, int64(c.number.Exponent))
	}
	return binary.AppendVarint(out, c.number.Mantissa-before.Mantissa), c.number // the difference may go round, and comes back so
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
	c.state, c.telling = reading.State(head&stateMask), int(head>>tellingShift)
	switch {
	case c.state == reading.Absent:
		return before
	case c.telling >= len(b.rows[at].tellings), c.state > reading.Missing:
		r.bad = true
	case c.state == reading.Missing:
		if c.reason = int(r.uint()); c.reason >= len(b.reasons) {
			r.bad, c.reason = true, 0
		}
	default:
		c.number.Exponent = before.Exponent
		if head&sameExponent == 0 {
			c.number.Exponent = int16(r.int())
		}
		c.number.Mantissa = before.Mantissa + r.int()
		return c.number
	}
	return before
}

// merge lays later blocks over earlier ones.
func merge(blocks []*block) *block {
	if len(blocks) == 1 {
		return blocks[0]
	}
	out := new(block)
	for _, b := range blocks {
		out.items = union(out.items, b.items)
		out.reasons = union(out.reasons, b.reasons)
		out.rows = append(out.rows, b.rows...)
	}
	n := 0
	for _, b := range blocks {
		columns, reasons := places(out.items, b.items), places(out.reasons, b.reasons)
		for range b.rows {
			out.rows[n].spread(columns, reasons, len(out.items))
			n++
		}
	}
	out.fold()
	return out
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

// places tells where each of some texts is in all of them.
func places(all, some []string) []int {
	out := make([]int, len(some))
	for i, s := range some {
		out[i], _ = slices.BinarySearchFunc(all, s, strings.Compare)
	}
	return out
}

// spread has a row's cells where the items of a merged block are.
func (r *row) spread(columns, reasons []int, items int) {
	cells := make([]cell, items)
	for i, c := range r.cells {
		if c.state == reading.Missing {
			c.reason = reasons[c.reason]
		}
		cells[columns[i]] = c
	}
	r.cells = cells
}

// overlay takes from a row told later what supersedes.
func (r *row) overlay(later row) {
	moved := make([]int, len(later.tellings)) // place of a telling in r, plus one
	for i, c := range later.cells {
		if !readings.Supersedes(c.state, r.cells[i].state) {
			continue
		}
		if moved[c.telling] == 0 {
			r.tellings = append(slices.Clip(r.tellings), later.tellings[c.telling])
			moved[c.telling] = len(r.tellings)
		}
		c.telling = moved[c.telling] - 1
		r.cells[i] = c
	}
	r.tidy()
}

// tidy forgets tellings of which nothing is left.
func (r *row) tidy() {
	used := make([]int, len(r.tellings))
	for _, c := range r.cells {
		if c.state != reading.Absent {
			used[c.telling] = 1
		}
	}
	n := 0
	kept := make([]telling, 0, len(r.tellings))
	for i, u := range used {
		if u == 1 {
			kept = append(kept, r.tellings[i])
			used[i], n = n, n+1
		}
	}
	if n == len(used) {
		return
	}
	r.tellings = kept
	for i := range r.cells {
		if r.cells[i].state != reading.Absent {
			r.cells[i].telling = used[r.cells[i].telling]
		}
	}
}
